"""The workflow through a real SLURM of one node: the same table, GPU jobs where GPUs are, and a job
that is cancelled goes on where it was."""

import os
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest
import yaml

from workflow.conftest import HOME, KEPT, Workflow

TABLE = "results/table1.csv"
PARTITIONS = {"cpu": {"max_runtime": 100000}, "gpu": {"max_runtime": 100000, "max_gpu": 1}}


def slurm(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


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


def test_the_same_table_by_way_of_slurm(finished, profile, tmp_path):
    workflow = Workflow(tmp_path)
    workflow("--workflow-profile", str(profile), "--jobs", "4", TABLE, cores=None)
    submitted = jobs(workflow)
    print(submitted)
    assert (tmp_path / TABLE).read_bytes() == (finished.folder / TABLE).read_bytes()
    assert len(submitted["train_variant"]) == len(KEPT)
    for rule, ids in submitted.items():
        for job in ids:
            known = about(job)
            assert known["Partition"] == ("gpu" if rule == "train_variant" else "cpu"), rule
            assert known["JobState"] == "COMPLETED"
            assert ("TresPerJob" in known) == (rule == "train_variant")  # a GPU


def test_a_training_that_is_cancelled_goes_on_where_it_was(finished, profile, tmp_path):
    """It saves its state when SLURM asks it to stop, and the retry says where it goes on."""
    name = KEPT[1]
    shutil.copytree(finished.home, tmp_path / "checkout", symlinks=True)
    workflow = Workflow(tmp_path / "checkout/runs/tiny", tmp_path / "checkout")
    target = f"results/training/{name}/seed1/history.csv"
    killed: list[str] = []

    def kill() -> None:
        """Ends the first job of the training once it is at work."""
        log = workflow.folder / f"logs/train_variant/{name}_seed1.log"
        begun = time.time()
        while time.time() < begun + 300:
            if log.is_file() and log.stat().st_mtime > begun and "step" in log.read_text():
                killed.append(
                    slurm("squeue", "--noheader", "--format=%A", "--partition=gpu").strip()
                )
                slurm("scancel", killed[0])
                return
            time.sleep(0.5)

    watcher = threading.Thread(target=kill)
    watcher.start()
    longer = {"epochs": 15, "checkpoint_minutes": 1}
    workflow(
        "--workflow-profile", str(profile), "--jobs", "1", target, cores=None,
        variants={name: longer},
    )  # fmt: skip
    watcher.join()
    first, second = jobs(workflow)["train_variant"]
    assert killed == [first]
    logs = {job: next(workflow.folder.glob(f"logs/slurm/**/{job}.log")) for job in (first, second)}
    saved = re.search(r"asked to stop: step (\d+) of (\d+) is saved", logs[first].read_text())
    gone_on = re.search(r"going on from step (\d+) of (\d+)", logs[second].read_text())
    print(f"job {first} {saved[0]}; job {second} {gone_on[0]}")
    assert saved.groups() == gone_on.groups()
    assert 0 < int(saved[1]) < int(saved[2])
