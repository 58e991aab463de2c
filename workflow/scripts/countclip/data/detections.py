"""What a detector found in the images of a part, as Parquet: the names of its classes."""

import json
from pathlib import Path

import pyarrow.parquet as pq


def class_names(*paths: str | Path) -> dict[int, str]:
    """The detector's classes by id, from the metadata of its files; ValueError if they differ."""
    found = {path: pq.read_schema(path).metadata[b"class_names"] for path in paths}
    first, *others = found
    for path in others:
        if found[path] != found[first]:
            raise ValueError(
                f"{path}: its classes are not those of {first}: the two come from different"
                " detectors; delete both, and run again"
            )
    return {int(number): name for number, name in json.loads(found[first]).items()}
