"""Tests against real data, which is not ours to pass on and so lies outside the checkout."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data: $COUNTCLIP_SHARED/data, or ../shared/data beside the checkout."""
    beside = Path(__file__).resolve().parents[3] / "shared"
    folder = Path(os.environ.get("COUNTCLIP_SHARED", beside)) / "data"
    if not folder.is_dir():
        stop = pytest.fail if os.environ.get("COUNTCLIP_REAL") == "required" else pytest.skip
        stop(f"no real data in {folder}: set COUNTCLIP_SHARED to the folder that holds data/")
    return folder
