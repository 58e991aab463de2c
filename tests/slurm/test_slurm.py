"""The workflow through a real SLURM of one node, without accounting: the same table though jobs are
cancelled, run out of time and are put back into the queue; GPU jobs where GPUs are."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml

from workflow.conftest import HOME, KEPT, Workflow

TABLE = "results/table1.csv"
HISTORIES = [f"results/training/{name}/seed1/history.csv" for name in KEPT]
WAYS = ("cancelled", "timed out", "requeued")
PARTITIONS = {"cpu": {"max_runtime": 100000}, "gpu": {"max_runtime": 100000, "max_gpu": 1}}


def slurm(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout


@pytest.fixture(scope="session")
def profile(tmp_path_factory) -> Path:
    """profiles/slurm as a site would edit it: its partitions, its limits, shorter waits."""
    if os.environ.get("COUNTCLIP_SLURM") != "start":
        pytest.skip("COUNTCLIP_SLURM=start lets the tests write /etc/slurm and start its daemons")
    script = Path(__file__).with_name("start.sh")
    started = subprocess.run([script], capture_output=True, text=True, timeout=600, check=False)
    if started.returncode:
        reason = f"no SLURM can be had here: {started.stdout.strip()} {started.stderr.strip()}"
        required = os.environ.get("COUNTCLIP_REAL") == "required"
        (pytest.fail if required else pytest.skip)(reason)
    folder = tmp_path_factory.mktemp("profile")
    shutil.copytree(HOME / "profiles/slurm", folder, dirs_exist_ok=True)
    (folder / "partitions.yaml").write_text(yaml.safe_dump({"partitions": PARTITIONS}))
    settings = yaml.safe_load((folder / "profile.yaml").read_text(encoding="utf-8"))
    settings |= {
        "slurm-partition-config": str(folder / "partitions.yaml"),
        "slurm-init-seconds-before-status-checks": 2,
        "slurm-keep-successful-logs": True,
        "latency-wait": 5,
        # The node has 8 GB. Training asks for a GPU, which is one in name only: it runs on the CPU.
        "set-resources": {
            **{rule: {"mem_mb": 1000} for rule in re.findall(r"^rule (\w+):", rules(), re.M)},
            "train_variant": {"mem_mb": 1000, "gpu": 1},
        },
    }
    (folder / "profile.yaml").write_text(yaml.safe_dump(settings))
    yield folder
    subprocess.run([script, "stop"], check=False)


def rules() -> str:
    return "".join(file.read_text() for file in sorted((HOME / "workflow/rules").glob("*.smk")))


def jobs(workflow: Workflow) -> dict[str, list[str]]:
    """The SLURM ids of each rule's jobs in their order, by the logs; 16_2 is one of an array."""
    found: dict[str, list[str]] = {}
    logs = (workflow.folder / "logs/slurm").rglob("*.log")
    for log in sorted(logs, key=lambda log: [int(number) for number in log.stem.split("_")]):
        rule = next(part for part in log.parts if part.startswith("rule_"))
        found.setdefault(rule.removeprefix("rule_"), []).append(log.stem)
    return found


def about(job: str) -> dict[str, str]:
    """What SLURM knows of a job."""
    return dict(re.findall(r"(\w+)=(\S+)", slurm("scontrol", "show", "job", job)))


@dataclass
class Disturbed:
    """A run by way of SLURM, of whose trainings three were ended: how -> the job's id."""

    workflow: Workflow
    ended: dict[str, str]


def halted(folder: Path) -> Iterator[str]:
    """The jobs that train, each halted as its steps begin, so that none ends by itself."""
    seen = set()
    while True:
        for process in psutil.process_iter(["cmdline"]):
            command = process.info["cmdline"] or [""]
            ours = command[-1].startswith(f"{folder}/.snakemake/scripts/")
            trains = command[-1].endswith("train_variant.py") and "python" in command[0]
            if not (ours and trains) or process.pid in seen:
                continue
            while not caught(process.pid, signal.SIGTERM):
                time.sleep(0.02)
            process.suspend()  # SLURM lets it go on when it asks it to end
            seen.add(process.pid)
            job = process.environ()
            task = job.get("SLURM_ARRAY_TASK_ID")
            yield f"{job['SLURM_ARRAY_JOB_ID']}_{task}" if task else job["SLURM_JOB_ID"]
        time.sleep(0.2)


def caught(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler of its own for a signal, as a training has while it steps."""
    mask = re.search(r"^SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.M)[1]
    return bool(int(mask, 16) >> (number - 1) & 1)


def end(job: str, how: str) -> None:
    """What ends a job on a cluster: a person, its time limit, or SLURM that wants it elsewhere."""
    if how == "cancelled":
        slurm("scancel", job)
    elif how == "timed out":
        slurm("scontrol", "update", f"JobId={job}", "EndTime=now")
    else:
        slurm("scontrol", "requeue", job)
        while "BeginTime" not in slurm("squeue", "--noheader", "--format=%r", "--jobs", job):
            time.sleep(0.5)
        slurm("scontrol", "update", f"JobId={job}", "StartTime=now")  # not in two minutes


@pytest.fixture(scope="module")
def disturbed(profile, finished, tmp_path_factory) -> Disturbed:
    """Of the finished run all is there that the trainings begin with; what follows them runs here.
    A job of SLURM starts two Snakemakes and a Python, twelve CPU seconds, and is submitted the same
    way for every rule."""
    run = Disturbed(finished.copy(tmp_path_factory.mktemp("disturbed") / "checkout"), {})
    run.workflow.python = sys.executable
    results = run.workflow.folder / "results"
    for made in ("training", "evaluation"):
        shutil.rmtree(results / made)
    for file in results.glob("table1*"):
        file.unlink()

    def disturb() -> None:
        for how, job in zip(WAYS, halted(run.workflow.folder), strict=False):
            end(job, how)
            run.ended[how] = job

    watcher = threading.Thread(target=disturb, daemon=True)
    watcher.start()
    run.workflow("--workflow-profile", str(profile), "--jobs", "4", *HISTORIES, cores=None)
    watcher.join(60)
    run.workflow.python = None
    run.workflow(TABLE)
    return run


def test_a_disturbed_run_by_way_of_slurm_gives_the_same_table(disturbed, finished):
    for name in (TABLE, *HISTORIES):
        ours, local = (run.folder / name for run in (disturbed.workflow, finished))
        assert ours.read_bytes() == local.read_bytes(), name


def test_jobs_with_a_gpu_and_they_alone_go_where_gpus_are(disturbed):
    submitted = jobs(disturbed.workflow)
    print(submitted)
    assert set(submitted) == {"pack_benchmark", "pack_images", "train_variant"}
    assert len(submitted["train_variant"]) == len(KEPT) + 2  # two were submitted again
    killed = {disturbed.ended[how]: how for how in ("cancelled", "timed out")}
    states = {"cancelled": "CANCELLED", "timed out": "TIMEOUT", None: "COMPLETED"}
    for rule, ids in submitted.items():
        for job in ids:
            known = about(job)
            assert known["Partition"] == ("gpu" if rule == "train_variant" else "cpu"), rule
            assert ("TresPerJob" in known) == (rule == "train_variant")  # a GPU
            assert known["JobState"] == states[killed.get(job)]


def test_a_training_that_slurm_ends_goes_on_where_it_was(disturbed):
    """It saves its state when it is asked to stop; what runs next goes on from there."""
    logs = (disturbed.workflow.folder / "logs/slurm/rule_train_variant").rglob("*.log")
    texts = {log.stem: log.read_text() for log in logs}
    ended = [disturbed.ended[how] for how in WAYS]
    retried = [job for job in texts if job not in ended[:2]]
    saved = {job: re.findall(r"stopped: step (\d+) of 19 is saved", texts[job]) for job in ended}
    gone_on = {job: re.findall(r"going on from step (\d+) of 19", texts[job]) for job in retried}
    print(disturbed.ended, saved, gone_on)
    assert all(0 < int(step) < 19 for (step,) in saved.values())
    assert sorted(saved[job] for job in ended[:2]) == sorted(gone_on[job][:1] for job in retried)
    # As many minutes again: what goes on where it was must not outgrow its partition.
    assert {about(job)["TimeLimit"] for job in retried} == {"12:00:00"}
    assert about(ended[2])["Restarts"] == "1"  # requeued, it goes on in the same job
    assert gone_on[ended[2]][1:] == saved[ended[2]]
