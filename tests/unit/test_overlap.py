"""How many pictures of a further benchmark were seen before, counted by hand."""

import pandas as pd

from countclip.benchmarks import overlap

HASHES = {"0": "0" * 16, "4 bits": "f" + "0" * 15, "5 bits": "1f" + "0" * 14, "far": "f" * 16}


def test_what_was_trained_on_and_what_chose_the_checkpoint_is_counted(tmp_path):
    """Held-out pairs teach nothing, and rows that are left out are not measured on."""

    def table(name: str, pictures: list[str | None], **columns) -> str:
        path = str(tmp_path / f"{name}.parquet")
        phash = [HASHES.get(picture) for picture in pictures]
        pd.DataFrame({"phash": phash, "sha256": pictures} | columns).to_parquet(path)
        return path

    benchmark = table(
        "own", ["0", "far", "0", "far", None], included=[True, True, False, True, False]
    )
    others = table("countbench", ["far", "0", None], included=[True, False, False])

    def seen(one: tuple[str, str], other: tuple[str, str], non_counting: list[str]) -> list[int]:
        sets = [table(f"{n}", [pair[0]], split=[pair[1]]) for n, pair in enumerate((one, other))]
        counts = overlap.count_overlaps(
            benchmark=benchmark,
            counting=sets,
            non_counting=[table("o", non_counting)],
            countbench=others,
            distance=4,
        )
        return list(counts.values())

    assert seen(("5 bits", "train"), ("4 bits", "train"), []) == [1, 2, 1]
    assert seen(("5 bits", "train"), ("4 bits", "heldout"), []) == [0, 2, 1]
    assert seen(("5 bits", "train"), ("4 bits", "heldout"), ["far", "far"]) == [2, 2, 1]
    assert seen(("0", "train"), ("far", "train"), ["far"]) == [3, 2, 1]
    alone = overlap.count_overlaps(
        benchmark=benchmark, counting=[], non_counting=[], countbench=None, distance=4
    )
    assert alone == {"near_training": 0, "near_countbench": None, "same_picture": 1}


def test_rows_with_an_image_of_an_earlier_one_are_counted_among_those_that_count(tmp_path):
    path = str(tmp_path / "countbench.parquet")
    files = ["a", "b", "a", "a", None, "b"]
    pd.DataFrame({"index": range(6), "sha256": files}).to_parquet(path)
    assert overlap.repeated_images(path, [0, 1, 2, 3, 5]) == 3
    assert overlap.repeated_images(path, {1: 2, 2: 3, 5: 4}) == 1
    assert overlap.repeated_images(path, [0, 1]) == 0
