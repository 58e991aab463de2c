import gc
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported anywhere

import shutil
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from filelock import FileLock

from warm_python import WarmPython
from workflow.conftest import Workflow, finish


def pytest_xdist_auto_num_workers() -> int:
    """Two more than cores, as tests also wait; at most four, each of which may take 1.5 GB."""
    return min(4, (os.cpu_count() or 1) + 2)


LONG = (
    "test_benchmarks.py", "test_docs.py", "test_fetch_faults.py", "test_objective.py",
    "test_own_photos.py", "test_training.py", "test_walls.py",
)  # fmt: skip
"""Files of a minute or two that need no `finished`: what runs while it is made."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Seek no garbage among what tests import, which all stays: it takes a third of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with one file that makes `finished`, and long ones; then come those that wait for it.

    By name, three of four processes would wait, and a long file would end last, alone.
    """
    waiting = {item.path for item in items if "finished" in item.fixturenames}

    def place(item: pytest.Item) -> int:
        if item.path.name in ("test_copies.py", *LONG):
            return int(item.path.name in LONG)
        return 2 if item.path in waiting else 3

    items.sort(key=place)


WARM = "COUNTCLIP_WARM_PYTHON"


def pytest_configure(config: pytest.Config) -> None:
    """One server for all processes of xdist, which does nothing before it is needed."""
    if WARM not in os.environ:
        running = ExitStack()
        os.environ[WARM] = running.enter_context(WarmPython())
        config.add_cleanup(running.close)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Workflow:
    """The tiny workflow after a whole run: one for all processes of xdist, made where it is first
    needed. Its results stay as they are, and only the tests of test_run.py run Snakemake in it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # of all processes
    home, done = folder / "finished/checkout", folder / "finished/done"
    with FileLock(folder / "finished.lock"):
        if not done.exists():
            shutil.rmtree(home, ignore_errors=True)  # a run that failed
            finish(home)
            done.touch()
    return Workflow(home / "runs/tiny", home)
