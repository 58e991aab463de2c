import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported anywhere

import pytest

from workflow.conftest import Workflow, finish


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Workflow:
    """The tiny workflow after a whole run, which the tests of workflow/ and slurm/ share."""
    return finish(tmp_path_factory.mktemp("finished") / "checkout")
