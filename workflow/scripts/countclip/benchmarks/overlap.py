"""Which pictures of a further benchmark were seen before: by a training, or in another of its rows?

CountBench's are kept out of training. Those of others are not, or each new benchmark would train
all models anew; they are counted instead, and the benchmark's table says how many there are.
"""

import pyarrow.parquet as pq

from countclip.data.near_duplicates import near

INCLUDED = ("included", "==", True)


def seen(
    benchmark: str, counting: list[str], non_counting: list[str], countbench: str, distance: int
) -> dict[str, int]:
    """How many of the rows that are measured on have a picture near one that was trained on,
    `near_training`, or near one of `countbench`, by which a checkpoint is chosen,
    `near_countbench`: perceptual hashes that differ in at most `distance` of 64 bits. And how many
    have the very picture of an earlier row, `same_picture`.

    benchmark, countbench: their benchmark.parquet. counting, non_counting: the pairs of all
    counting sets that are trained on.
    """
    own, files = _column(benchmark, "phash", INCLUDED), _column(benchmark, "sha256", INCLUDED)
    trained = [
        *(phash for path in counting for phash in _column(path, "phash", ("split", "==", "train"))),
        *(phash for path in non_counting for phash in _column(path, "phash")),
    ]
    return {
        "near_training": int(near(own, trained, distance).sum()),
        "near_countbench": int(near(own, _column(countbench, "phash", INCLUDED), distance).sum()),
        "same_picture": len(files) - len(set(files)),
    }


def _column(path: str, name: str, *only: tuple[str, str, object]) -> list[str]:
    return pq.read_table(path, columns=[name], filters=list(only) or None)[name].to_pylist()
