"""Further benchmarks in a workflow: files of one's own, and pictures that are asked for."""

import json

import pyarrow as pa
import pyarrow.parquet as pq

from countclip.runtime.files import sha256
from miniature import server

from .conftest import Workflow


def test_files_of_ones_own_become_benchmarks(tmp_path):
    """A CSV with a picture, and PixMo-Count's form with addresses of the miniature's web."""
    picture = server.image("own_benchmark", 0, 3, "PNG")
    (tmp_path / "shelf.png").write_bytes(picture)
    (tmp_path / "shelves.csv").write_text("image,number,noun\nshelf.png,3,stars\nno.png,3,stars\n")
    scenes = {0: 7, 1: 4}  # the first two scenes of the miniature's CountBench
    bodies = [server.image("countbench", *scene, "JPEG") for scene in scenes.items()]
    columns = {
        "image_url": [f"http://mirror.miniature.example/{index:03}.jpg" for index in scenes],
        "image_sha256": [sha256(bodies[0]), sha256(picture)],
        "count": pa.array(scenes.values(), pa.int32()),
        "label": ["objects", "objects"],
    }
    pq.write_table(pa.table(columns), tmp_path / "test.parquet")
    workflow = Workflow(tmp_path / "run")
    own = {
        "shelves": {"source": "folder", "path": str(tmp_path / "shelves.csv")},
        "pixmo": {"source": "pixmo_count", "path": str(tmp_path / "test.parquet")},
    }
    targets = [f"results/benchmarks/{name}/summary.json" for name in own]
    workflow(*targets, benchmarks=own)
    for target in targets:
        summary = json.loads((workflow.folder / target).read_text())
        assert summary["left_out"] == {"missing": 1}
        assert summary["rows"] == 2
    assert workflow.plan(*targets, benchmarks=own) == {}
    (tmp_path / "shelf.png").write_bytes(server.image("own_benchmark", 1, 3, "PNG"))
    assert workflow.plan(*targets, benchmarks=own) == {"read_benchmark": 1}
