import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported anywhere

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from workflow.conftest import Workflow, finish


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Workflow:
    """The tiny workflow after a whole run, which the tests of workflow/ and slurm/ share."""
    return finish(tmp_path_factory.mktemp("finished") / "checkout")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    """Of several workers (pytest -n 2) one gets all that shares `finished`, and they get the rest
    file by file. xdist's own groups (--dist loadgroup) come to nothing with pytest 9.2."""

    class Shared(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            folder = nodeid.rpartition("/")[0].partition("tests/")[2]
            return "finished" if folder in ("slurm", "workflow") else super()._split_scope(nodeid)

    return Shared(config, log)
