"""Short lines about a run: the start and end of each stage, failures, and the time left.

A stage is all jobs of a rule. `make run` uses this logger; `PYTHONPATH=workflow/logger snakemake
--logger stages` does the same. What jobs print goes into logs/console.log, and Snakemake's own log
is in .snakemake/log/. Dry runs and --verbose look as they do without this logger.
"""

import contextlib
import logging
import os
import shutil
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from snakemake.common import NOTHING_TO_BE_DONE_MSG
from snakemake.logging import ColorizingTextHandler
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_stages.causes import CONSOLE, exception, explanation, printable, short
from snakemake_logger_plugin_stages.estimate import remaining, rough, rule_seconds

NO_STAGE = {"all", "plan", "total"}
"""Of Snakemake's counts: the rules that make no file, and the sum."""
REPEATED = ("At least one job did not complete", "Exiting because a job execution failed")
"""Errors of Snakemake that say again that a job failed."""
AGAIN = "mend the cause and give the same command again; finished jobs are not repeated"


@dataclass
class Job:
    """A job that runs; `offset` is where CONSOLE ended at its start."""

    rule: str
    wildcards: dict[str, str]
    logs: list[str]
    offset: int = 0
    since: float = field(default_factory=time.time)


@dataclass
class Stage:
    """All jobs of a rule. `busy`: seconds before `since`, in which at least one of them ran."""

    jobs: int
    started: int = 0
    times: list[float] = field(default_factory=list)
    since: float = 0.0
    busy: float = 0.0


class LogHandler(LogHandlerBase):
    writes_to_stream = True
    writes_to_file = has_filter = has_formatter = needs_rulegraph = False

    def __post_init__(self) -> None:
        settings = self.common_settings
        self.native = None
        if settings.dryrun or settings.verbose or settings.debug_dag:
            stream = sys.stdout if settings.stdout else sys.stderr
            self.native = ColorizingTextHandler(settings.nocolor, stream)
        self.stream = os.fdopen(os.dup(2), "w", errors="replace")
        self.is_terminal = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self.redirected: int | None = None  # the descriptor of stderr, while jobs write to CONSOLE
        self.folder = Path.cwd()  # before Snakemake changes it to --directory
        self.began = time.time()
        self.early: list[str] = []  # what Snakemake says before it runs anything
        self.stages: dict[str, Stage] = {}
        self.jobs: dict[int, Job] = {}
        self.failures: dict[int, str] = {}
        self.prices: dict[str, float] = {}
        self.cores: int | None = None
        self.is_stopped = False
        self.last_error = ""
        self.ended = threading.Event()

    # ---- events ----

    def emit(self, record: logging.LogRecord) -> None:
        if self.native:
            self.native.setFormatter(self.formatter)
            self.native.emit(record)
            return
        try:
            event = getattr(record, "event", None)
            react = {
                LogEvent.WORKFLOW_STARTED: self._workflow_started,
                LogEvent.RESOURCES_INFO: self._resources,
                LogEvent.RUN_INFO: self._planned,
                LogEvent.JOB_INFO: self._job_started,
                LogEvent.JOB_FINISHED: self._job_finished,
                LogEvent.JOB_ERROR: self._job_failed,  # also for each job of a group
                LogEvent.GROUP_ERROR: lambda record: None,
                LogEvent.ERROR: self._error,
            }
            unknown = self._message if event is None or record.levelno > logging.INFO else None
            if action := react.get(event, unknown):
                action(record)
        except Exception:  # an event of another Snakemake must not end the run
            self._write(printable(record.getMessage()))

    def _message(self, record: logging.LogRecord) -> None:
        message = printable(record.getMessage())
        if record.levelno >= logging.ERROR:
            self._error(record)
        elif record.levelno >= logging.WARNING:
            self._write(message)
        elif message == NOTHING_TO_BE_DONE_MSG:
            self._write("Everything is there, and nothing has changed: no job to run.")
        elif message.startswith("Terminating processes"):
            self.is_stopped = True
            self._write("Stopping.")
        elif message.startswith(("Trying to restart", "Will exit")):
            self._line("", message)
        elif self.redirected is None:
            self.early.append(message)

    def _workflow_started(self, record: logging.LogRecord) -> None:
        """From here on only this handler writes to the terminal: jobs inherit another stderr."""
        self.prices = rule_seconds([str(file) for file in record.configfiles], self.folder)
        Path(CONSOLE).parent.mkdir(exist_ok=True)
        with open(CONSOLE, "wb") as console:
            self.redirected = os.dup(2)
            os.dup2(console.fileno(), 2)

    def _resources(self, record: logging.LogRecord) -> None:
        self.cores = getattr(record, "cores", self.cores)  # none on a cluster

    def _planned(self, record: logging.LogRecord) -> None:
        """Snakemake counts jobs by rule, in the order in which they can run."""
        self.stages = {rule: Stage(n) for rule, n in record.stats.items() if rule not in NO_STAGE}
        if not self.stages:
            return
        what = f"{self._count(self._jobs())} in {self._count(len(self.stages), 'stage')}"
        on = f" on {self._count(self.cores, 'core')}" if self.cores else ""
        left = f", {self._left().removesuffix(' left')}" if self._left() else ""
        self._write(f"{what}{on}{left}. What each job does is in logs/.")
        if self.is_terminal:
            threading.Thread(target=self._beat, daemon=True).start()

    def _job_started(self, record: logging.LogRecord) -> None:
        rule = record.rule_name
        if rule in NO_STAGE:
            return
        stage = self.stages.setdefault(rule, Stage(1))
        if not self._running(rule):
            stage.since = time.time()
        offset = os.fstat(2).st_size if self.redirected is not None else 0
        self.jobs[record.jobid] = Job(rule, dict(record.wildcards), list(record.log), offset)
        if record.jobid not in self.failures:  # else it is tried once more
            stage.started += 1
            if stage.started == 1:
                what = record.rule_msg if stage.jobs == 1 else self._count(stage.jobs)
                self._line("start", rule, what or "1 job")

    def _job_finished(self, record: logging.LogRecord) -> None:
        if job := self._ended(record.job_id):
            self.failures.pop(record.job_id, None)
            stage = self.stages[job.rule]
            stage.times.append(time.time() - job.since)
            if len(stage.times) == stage.jobs:
                later = next((name for name, other in self.stages.items() if not other.started), "")
                text = f"{self._count(stage.jobs)} in {duration(stage.busy)}"
                left = [self._left(), later and f"next {later}"]
                self._line("done", job.rule, "; ".join(filter(None, [text, *left])))

    def _ended(self, jobid: int) -> Job | None:
        job = self.jobs.pop(jobid, None)
        if job and not self._running(job.rule):
            stage = self.stages[job.rule]
            stage.busy += time.time() - stage.since
        return job

    def _job_failed(self, record: logging.LogRecord) -> None:
        job = self._ended(record.jobid) or Job(record.rule_name, {}, list(record.log))
        if self.is_stopped:
            return
        wildcards = ", ".join(f"{name}={value}" for name, value in job.wildcards.items())
        name = f"{job.rule} ({wildcards})" if wildcards else job.rule
        log, words = explanation(job.logs, job.rule, job.since, job.offset, self.last_error)
        self.last_error = ""
        whole = Path(log).absolute()
        inside = whole.is_relative_to(self.folder)
        log = str(whole.relative_to(self.folder) if inside else whole)
        self.failures[record.jobid] = f"{name}: {log}"
        if "KeyboardInterrupt" in " ".join(words):  # Ctrl-C may reach jobs first
            return
        lines = "\n        ".join([name, *words, f"log: {log}", f"next: {AGAIN}"])
        self._line("FAILED", lines)

    def _error(self, record: logging.LogRecord) -> None:
        text = record.getMessage() if record.msg else ""
        self.early.clear()
        if "CalledProcessError" in text:  # of a job, whose JOB_ERROR follows
            self.last_error = text
        elif not self.is_stopped and not any(known in text for known in REPEATED):
            self._write("\n".join(exception(text) or short(text.splitlines())))

    # ---- what is counted ----

    def _running(self, rule: str) -> int:
        return sum(job.rule == rule for job in self.jobs.values())

    def _jobs(self) -> int:
        return sum(stage.jobs for stage in self.stages.values())

    def _left(self) -> str:
        """The approximate time until all jobs are done, or nothing where it cannot be known."""
        if not (self.cores and self.prices):
            return ""
        prices = {
            rule: sum(stage.times) / len(stage.times) if stage.times else self.prices.get(rule, 3)
            for rule, stage in self.stages.items()
        }
        running = [prices[job.rule] + job.since - time.time() for job in self.jobs.values()]
        waiting = [
            price for rule, price in prices.items()
            for _ in range(self.stages[rule].jobs - self.stages[rule].started)
        ]  # fmt: skip
        left = f"about {rough(remaining(running, waiting, self.cores))} left"
        return left if running or waiting else ""

    @staticmethod
    def _count(number: int, thing: str = "job") -> str:
        return f"{number} {thing}{'s' * (number != 1)}"

    # ---- the terminal ----

    def _line(self, kind: str, what: str, text: str = "", end: str = "\n") -> None:
        """A line with the time since the start; one of a stage in columns."""
        minutes, seconds = divmod(int(time.time() - self.began), 60)
        column = max(map(len, self.stages), default=0) if text else 0
        line = f"[{minutes:2}:{seconds:02}] {kind:7} {what:{column}}  {text}".rstrip()
        width = shutil.get_terminal_size((100, 24)).columns - 1
        is_long = len(line) > width and kind != "FAILED"
        self._write(f"{line[: width - 1]}…" if is_long else line, end)

    def _write(self, text: str, end: str = "\n") -> None:
        with contextlib.suppress(OSError):  # nobody reads any more
            self.stream.write("\r\x1b[K" * self.is_terminal + text + end)
            self.stream.flush()

    def _beat(self) -> None:
        """Say once a second what runs, in a line that the next one replaces."""
        while not self.ended.wait(1.0):
            with self.lock:
                running = Counter(job.rule for job in self.jobs.values())
                names = [
                    f"{rule} ({len(self.stages[rule].times)} of {self.stages[rule].jobs} done)"
                    for rule in running
                ]
                if names and not self.ended.is_set():
                    line = "; ".join(filter(None, [", ".join(names), self._left()]))
                    self._line("running", line, end="")

    def close(self) -> None:
        """Say how the run ended, and give stderr back."""
        with self.lock:
            if not self.ended.is_set():
                self.ended.set()
                if self.redirected is not None:
                    os.dup2(self.redirected, 2)
                    os.close(self.redirected)
                if text := self._end():
                    self._write(text)
                self.stream.close()
        super().close()

    def _end(self) -> str:
        jobs, done = self._jobs(), sum(len(stage.times) for stage in self.stages.values())
        if self.is_stopped:
            return (
                f"Stopped: {done} of {self._count(jobs)} done. The same command goes on from there."
            )
        if self.failures:
            waiting = jobs - done - len(self.failures)
            rest = f", {waiting} did not start" * bool(waiting)
            failed = f"{self._count(len(self.failures))} failed, {done} of {jobs} done{rest}"
            return "\n  ".join([f"{failed}. Failed, each with its log:", *self.failures.values()])
        if jobs and done == jobs:
            return f"All done: {self._count(jobs)} in {duration(time.time() - self.began)}."
        return "\n".join(self.early) if self.redirected is None else ""


def duration(seconds: float) -> str:
    """Seconds as 7 s, 2 min 5 s or 1 h 2 min."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
