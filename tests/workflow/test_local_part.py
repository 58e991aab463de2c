"""Metadata of one's own in a run of the workflow: used in place, and looked at when it changes."""

import os

import pyarrow as pa
import pyarrow.parquet as pq

from .conftest import Workflow

PART = "results/laion/parts/part-00000.parquet"


def test_files_of_ones_own_are_used_in_place(tmp_path):
    own = tmp_path / "own/part-00000-5b54c5d5-bbcf-484d-a2ce-0d6f73df1a36-c000.snappy.parquet"
    own.parent.mkdir()
    pq.write_table(pa.table({"URL": ["http://example.org/a.jpg"], "TEXT": ["two dogs"]}), own)
    os.utime(own, (1e9, 1e9))  # an old file
    workflow = Workflow(tmp_path / "run")
    settings = {
        "network": "internet",
        "laion": {"source": "local", "folder": str(own.parent), "parts": ["part-00000"]},
    }
    workflow(PART, **settings)
    assert (tmp_path / "run" / PART).resolve() == own
    assert workflow.plan(PART, **settings) == {}
    pq.write_table(pa.table({"URL": ["http://example.org/b.jpg"], "TEXT": ["six cats"]}), own)
    assert set(workflow.plan(PART, **settings)) == {"make_manifest", "download_part"}
    assert "laion.source: local needs laion.folder" in workflow(
        PART, "-n", fails=True, network="internet", laion={"source": "local"}
    )
