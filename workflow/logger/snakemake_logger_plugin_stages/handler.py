"""Short lines about a run: the start and end of each stage, failures, and the time left.

A stage is all jobs of a rule. `make run` uses this logger; `PYTHONPATH=workflow/logger snakemake
--logger stages` does the same. Jobs print into logs/console.log. Snakemake's full log stays in
.snakemake/log/. Dry runs and --verbose look as they do without this logger.
"""

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

from snakemake_logger_plugin_stages.causes import CONSOLE, cause, explanation, printable
from snakemake_logger_plugin_stages.estimate import remaining, rule_seconds

NO_STAGE = {"all", "plan", "total"}
"""Of Snakemake's counts: the rules that make no file, and the sum."""
REPEATED = ("At least one job did not complete", "Exiting because a job execution failed")
"""Errors of Snakemake that only repeat that a job failed."""
AGAIN = "mend the cause and give the same command again; finished jobs are not repeated"
HEARTBEAT = 1.0
"""Seconds between two drawings of the line of what runs, on a terminal."""


@dataclass
class Job:
    """A job that runs; `offset` is where logs/console.log ended at its start."""

    rule: str
    wildcards: dict[str, str]
    logs: list[str]
    offset: int
    started: float = field(default_factory=time.time)


@dataclass
class Stage:
    """All jobs of a rule: how many there are, and what became of them.

    busy: seconds in which at least one of them ran, until `since`, the start of the last such time.
    """

    jobs: int
    started: int = 0
    failed: int = 0
    times: list[float] = field(default_factory=list)
    running: int = 0
    since: float = 0.0
    busy: float = 0.0


class LogHandler(LogHandlerBase):
    writes_to_stream = True
    writes_to_file = has_filter = has_formatter = needs_rulegraph = False

    def __post_init__(self) -> None:
        settings = self.common_settings
        self.folder = Path.cwd()  # before Snakemake changes it to --directory
        self.native = None
        if settings.dryrun or settings.verbose or settings.debug_dag:
            stream = sys.stdout if settings.stdout else sys.stderr
            self.native = ColorizingTextHandler(settings.nocolor, stream)
        self.stream = os.fdopen(os.dup(2), "w", errors="replace")
        self.is_terminal = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self.started = time.time()
        self.early: list[str] = []  # what Snakemake says before it runs anything
        self.console: int | None = None  # the terminal's file descriptor while jobs print elsewhere
        self.stages: dict[str, Stage] = {}
        self.jobs: dict[int, Job] = {}
        self.failures: dict[int, str] = {}
        self.prices: dict[str, float] = {}
        self.slots: int | None = None
        self.config_files: list[str] = []
        self.last_error = self.outcome = ""
        self.ended = threading.Event()

    # ---- events ----

    def emit(self, record: logging.LogRecord) -> None:
        if self.native:
            self.native.setFormatter(self.formatter)
            self.native.emit(record)
            return
        try:
            self._handle(record)
        except Exception:  # a run is worth more than its lines: an event of another Snakemake
            self._write(printable(record.getMessage()))

    def _handle(self, record: logging.LogRecord) -> None:
        event = getattr(record, "event", None)
        message = printable(str(record.msg or ""))
        if event == LogEvent.ERROR or (event is None and record.levelno >= logging.ERROR):
            self._error(str(record.msg))
        elif event in (LogEvent.JOB_ERROR, LogEvent.GROUP_ERROR):
            if event == LogEvent.JOB_ERROR:  # which follows for each job of a group
                self._job_failed(record)
        elif record.levelno >= logging.WARNING:
            self._write(message)
        elif event == LogEvent.WORKFLOW_STARTED:
            self.config_files = [str(file) for file in record.configfiles]
            self._begin()
        elif event == LogEvent.RESOURCES_INFO:
            self.slots = getattr(record, "cores", self.slots)
        elif event == LogEvent.RUN_INFO:
            self._planned(record.stats)
        elif event == LogEvent.JOB_INFO:
            self._job_started(record)
        elif event == LogEvent.JOB_FINISHED:
            self._job_ended(record.job_id)
        elif message == NOTHING_TO_BE_DONE_MSG:
            self._write("Everything is there, and nothing has changed: no job to run.")
        elif message.startswith("Terminating processes"):
            self.outcome = "stopped"
            self._write("Stopping.")
        elif message.startswith("Trying to restart"):
            self._write(f"{self._clock()} again   {message}")
        elif self.console is None and event is None and record.levelno == logging.INFO:
            self.early.append(message)

    def _begin(self) -> None:
        """From here on only this handler writes to the terminal; jobs inherit another stderr."""
        if self.console is None:
            Path("logs").mkdir(exist_ok=True)
            file = os.open(CONSOLE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            self.console = os.dup(2)
            os.dup2(file, 2)
            os.close(file)

    def _planned(self, stats: dict[str, int]) -> None:
        """The jobs of each rule, in the order in which they can run."""
        self.stages = {rule: Stage(n) for rule, n in stats.items() if rule not in NO_STAGE}
        self.prices = rule_seconds(self.config_files, self.folder)
        jobs = sum(stage.jobs for stage in self.stages.values())
        cores = f" on {count(self.slots, 'core')}" if self.slots else ""
        left = self._left().replace(" left", "")
        text = f"{count(jobs, 'job')} in {count(len(self.stages), 'stage')}{cores}"
        self._write(", ".join(filter(None, [text, left])) + ". Details of each job: logs/")
        if self.is_terminal:
            threading.Thread(target=self._beat, daemon=True).start()

    def _job_started(self, record: logging.LogRecord) -> None:
        rule = record.rule_name
        if rule in NO_STAGE:
            return
        stage = self.stages.setdefault(rule, Stage(1))
        offset = os.fstat(2).st_size if self.console is not None else 0
        wildcards = dict(record.wildcards or {})
        self.jobs[record.jobid] = Job(rule, wildcards, list(record.log or []), offset)
        if not stage.running:
            stage.since = time.time()
        stage.running += 1
        stage.started += record.jobid not in self.failures  # else it is tried once more
        if stage.started == stage.running == 1 and not stage.times:
            what = record.rule_msg if stage.jobs == 1 else count(stage.jobs, "job")
            self._write(f"{self._clock()} start   {rule:{self._column()}}  {what or '1 job'}")

    def _job_ended(self, jobid: int, is_failure: bool = False) -> Job | None:
        job = self.jobs.pop(jobid, None)
        if job is None:
            return None
        stage = self.stages[job.rule]
        stage.running -= 1
        if not stage.running:
            stage.busy += time.time() - stage.since
        if not is_failure:
            stage.failed -= self.failures.pop(jobid, None) is not None
            stage.times.append(time.time() - job.started)
            if len(stage.times) == stage.jobs:
                self._stage_ended(job.rule, stage)
        return job

    def _stage_ended(self, rule: str, stage: Stage) -> None:
        later = next((rule for rule, stage in self.stages.items() if not stage.started), "")
        text = f"{count(stage.jobs, 'job')} in {duration(stage.busy)}"
        text = "; ".join(filter(None, [text, later and f"next {later}", self._left()]))
        self._write(f"{self._clock()} done    {rule:{self._column()}}  {text}")

    # ---- failures ----

    def _error(self, text: str) -> None:
        self.early.clear()
        if "CalledProcessError" in text:  # of a job, whose JOB_ERROR comes next
            self.last_error = text
        elif self.outcome != "stopped" and not any(known in text for known in REPEATED):
            self._write("\n".join(cause(text) or ["An error without a message."]))

    def _job_failed(self, record: logging.LogRecord) -> None:
        job = self._job_ended(record.jobid, is_failure=True)
        if self.outcome == "stopped":
            return
        job = job or Job(record.rule_name, {}, list(record.log or []), 0, self.started)
        if job.rule in self.stages and record.jobid not in self.failures:
            self.stages[job.rule].failed += 1
        wildcards = ", ".join(f"{name}={value}" for name, value in job.wildcards.items())
        name = f"{job.rule} ({wildcards})" if wildcards else job.rule
        self.failures[record.jobid] = name
        log, lines = explanation(job.logs, job.rule, job.started, job.offset, self.last_error)
        self.last_error = ""
        for title, text in (("", "\n".join(lines)), ("log: ", self._shown(log)), ("next: ", AGAIN)):
            name += f"\n        {title}" + text.replace("\n", "\n        ")
        self._write(f"{self._clock()} FAILED  {name}")

    def _shown(self, path: str) -> str:
        """A path as seen from where the command was given."""
        whole = Path(path).absolute()
        return str(whole.relative_to(self.folder) if whole.is_relative_to(self.folder) else whole)

    # ---- time ----

    def _left(self) -> str:
        """The approximate time until all jobs are done, or nothing where it cannot be known."""
        if not (self.slots and self.prices and self.stages):
            return ""
        seconds = {
            rule: sum(stage.times) / len(stage.times) if stage.times else self.prices.get(rule, 3)
            for rule, stage in self.stages.items()
        }
        running = [seconds[job.rule] - time.time() + job.started for job in self.jobs.values()]
        waiting = [
            seconds[rule]
            for rule, stage in self.stages.items()
            for _ in range(stage.jobs - stage.started)
        ]
        left = remaining(running, waiting, self.slots)
        return f"about {rough(left)} left" if left else ""

    def _clock(self) -> str:
        minutes, seconds = divmod(int(time.time() - self.started), 60)
        return f"[{minutes:2}:{seconds:02}]"

    def _column(self) -> int:
        return max(map(len, self.stages), default=0)

    # ---- the terminal ----

    def _write(self, text: str) -> None:
        erased = "\r\x1b[K" if self.is_terminal else ""
        self.stream.write(f"{erased}{text}\n")
        self.stream.flush()

    def _beat(self) -> None:
        """Say once a second what runs, in one line that the next one replaces."""
        while not self.ended.wait(HEARTBEAT):
            with self.lock:
                rules = Counter(job.rule for job in self.jobs.values())
                if not rules:
                    continue
                names = (
                    f"{rule} {len(self.stages[rule].times)} of {self.stages[rule].jobs} done"
                    for rule in rules
                )
                line = "; ".join(filter(None, [*names, self._left()]))
                width = shutil.get_terminal_size().columns - 1
                self.stream.write(f"\r\x1b[K{f'{self._clock()} running {line}'[:width]}")
                self.stream.flush()

    def close(self) -> None:
        """Say how the run ended, and give the terminal back."""
        if not self.ended.is_set():
            self.ended.set()
            with self.lock:
                if self.is_terminal and not self.native:
                    self.stream.write("\r\x1b[K")
                if text := self._end():
                    self._write(text)
                if self.console is not None:
                    os.dup2(self.console, 2)
                    os.close(self.console)
                self.stream.close()
        super().close()

    def _end(self) -> str:
        jobs = sum(stage.jobs for stage in self.stages.values())
        done = sum(len(stage.times) for stage in self.stages.values())
        time_taken = duration(time.time() - self.started)
        if self.outcome == "stopped":
            return f"Stopped after {time_taken}: {done} of {jobs} jobs are done. The same command goes on."
        if self.failures:
            rest = jobs - done - len(self.failures)
            waiting = f", {rest} could not start" if rest else ""
            names = "\n".join(f"  {name}" for name in self.failures.values())
            return f"{count(len(self.failures), 'job')} failed, {done} done{waiting}:\n{names}"
        if jobs and done == jobs:
            return f"All done: {count(jobs, 'job')} in {time_taken}."
        return "\n".join(self.early) if self.console is None else ""


def count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def duration(seconds: float) -> str:
    """Seconds as 7 s, 2 min 5 s or 1 h 2 min."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def rough(seconds: float) -> str:
    """Seconds in the precision of an estimate."""
    if seconds < 50:
        return f"{max(10, 10 * round(seconds / 10))} s"
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 90 else f"{round(minutes / 60)} h"
