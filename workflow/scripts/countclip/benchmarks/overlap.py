"""Images of a further benchmark that are near duplicates of training or CountBench images.

CountBench's images are kept out of the training data. Those of other benchmarks are not, since each
new benchmark would then retrain all models; they are counted, and the benchmark's table reports
the counts.
"""

from collections.abc import Iterable

import pyarrow.parquet as pq

from countclip.data.near_duplicates import is_near

INCLUDED = ("included", "==", True)


def count_overlaps(
    *,
    benchmark: str,
    counting: list[str],
    non_counting: list[str],
    countbench: str | None,
    distance: int,
) -> dict[str, int | None]:
    """Number of the benchmark's included rows whose image was seen before, in three ways.

    benchmark, countbench: their benchmark.parquet; in a run without CountBench that of the main
        benchmark, and None if it is this one. counting, non_counting: the pairs of all counting
        sets that are trained on. distance: largest Hamming distance of perceptual hashes (64 bits)
        between near duplicates.
    `near_training`: near duplicates of a training image. `near_countbench`: of an image of
        CountBench, by which a checkpoint is chosen; None without one. `same_picture`: the very file
        of an earlier row.
    """
    hashes = _column(benchmark, "phash", INCLUDED)
    trained = [
        *(phash for path in counting for phash in _column(path, "phash", ("split", "==", "train"))),
        *(phash for path in non_counting for phash in _column(path, "phash")),
    ]
    measured = None if countbench is None else _column(countbench, "phash", INCLUDED)
    near = None if measured is None else int(is_near(hashes, measured, distance).sum())
    return {
        "near_training": int(is_near(hashes, trained, distance).sum()),
        "near_countbench": near,
        "same_picture": _repeats(_column(benchmark, "sha256", INCLUDED)),
    }


def repeated_images(benchmark: str, indices: Iterable[int]) -> int:
    """How many of some rows of a benchmark show the very file of an earlier one of them."""
    return _repeats(_column(benchmark, "sha256", ("index", "in", list(indices))))


def _repeats(files: list[str]) -> int:
    return len(files) - len(set(files))


def _column(path: str, name: str, *filters: tuple[str, str, object]) -> list[str]:
    return pq.read_table(path, columns=[name], filters=list(filters) or None)[name].to_pylist()
