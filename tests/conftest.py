import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported anywhere

from pathlib import Path

import pytest
from filelock import FileLock
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from workflow.conftest import Workflow, finish

LONGEST = ("slurm", "workflow")
"""Folders of tests that begin first. Of those in one folder several workers (pytest -n) give all to
one, as they share what a whole run has made; others go to them file by file."""


@pytest.fixture(scope="session")
def finished(tmp_path_factory, request) -> Workflow:
    """The tiny workflow after a whole run, which the tests of workflow/ and slurm/ share. Whoever
    changes its results holds its lock meanwhile, and leaves them as they were."""
    folder = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):  # one of several workers, who have this in common
        folder = folder.parent
    home = folder / "finished"
    with FileLock(f"{home}.lock"):
        return Workflow(home / "runs/tiny", home) if home.exists() else finish(home)


def folder_of(nodeid: str) -> str:
    """The name of the folder that a test lies in."""
    return Path(nodeid.partition("::")[0]).parent.name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: folder_of(item.nodeid) not in LONGEST)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    """xdist's own groups (--dist loadgroup) come to nothing with pytest 9.2."""

    class Shared(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            folder = folder_of(nodeid)
            return folder if folder in LONGEST else super()._split_scope(nodeid)

    return Shared(config, log)
