import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported anywhere

import shutil

import pytest
from filelock import FileLock

from workflow.conftest import Workflow, finish


def pytest_xdist_auto_num_workers() -> int:
    """Two more than cores, as tests also wait; at most four, each of which may take 1.5 GB."""
    return min(4, (os.cpu_count() or 1) + 2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with a long file that needs no `finished`; by its name it would end last, alone."""
    items.sort(key=lambda item: item.path.name != "test_training.py")


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
