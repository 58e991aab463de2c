"""The figure of objects by rank: its curve by hand, and a drawing of real counts."""

from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from countclip.experiments.soft_labels.figures import object_ranks, rank_curve
from countclip.experiments.soft_labels.object_counts import Store, write_objects


def objects(folder, mentions: list[int]) -> str:
    store = Store(folder / "store")
    store.add("all", {"nouns": Counter({f"o{i:03}": n for i, n in enumerate(mentions)})}, {})
    path = str(folder / "objects.parquet")
    write_objects(store, "nouns", path)
    return path


def read(files: dict[str, str]) -> dict[str, bytes]:
    return {kind: Path(path).read_bytes() for kind, path in files.items()}


def test_the_curve_has_a_step_for_each_number_of_mentions(tmp_path):
    path = objects(tmp_path, [9, 4, 4, 4, 1, 1, 1, 1, 1, 1])
    ranks, mentions, tail = rank_curve(path)
    np.testing.assert_array_equal(ranks, [1, 1, 2, 4, 5, 10])
    np.testing.assert_array_equal(mentions, [9, 9, 4, 4, 1, 1])
    assert tail == 3


def test_a_figure_marks_where_the_tail_begins(tmp_path):
    mentions = [*range(40, 0, -1), *[1] * 60]
    files = {kind: str(tmp_path / f"ranks.{kind}") for kind in ("svg", "png")}
    paths = {"nouns": objects(tmp_path, mentions)}
    (tmp_path / "empty").mkdir()
    paths["phrases"] = objects(tmp_path / "empty", [])
    tails = object_ranks(paths, label="Mine", scale="miniature", **files)
    assert tails == {"nouns": (71, 1)}  # 30 of 100
    assert Image.open(files["png"]).size == (975, 660)
    first = read(files)
    object_ranks(paths, label="Mine", scale="miniature", **files)
    assert read(files) == first
    object_ranks(paths, label="Mine", scale="paper", **files)
    assert read(files)["png"] != first["png"]  # no stamp
