"""What the detector finds in counted images, at each of several settings."""

import json
import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from countclip.data.counted_images import Row, Source, folder_csv
from countclip.data.detector import Detector, Prepared
from countclip.data.images import MAX_BYTES, Unusable, decode, read_file
from countclip.runtime.files import progress, write_table
from countclip.runtime.folders import ImageFolder
from countclip.runtime.gpus import claim_gpu

log = logging.getLogger(__name__)

FOUND = pa.schema(
    {
        "image": pa.string(),
        "text": pa.string(),  # the caption, else the noun
        "number": pa.int32(),  # how many there are
        "tiles": pa.int8(),
        "iou": pa.float64(),
        "class_id": pa.list_(pa.int16()),
        "score": pa.list_(pa.float32()),  # falling
    }
)
"""A row for each image and setting."""


def detect_in_counted(
    path: str | Path,
    images: str | Path,
    found_parquet: str | Path,
    *,
    weights: str | Path,
    tiles: list[int],
    iou: list[float],
    confidence_floor: float,
    follow_links: bool,
    batch: int,
    device: str,
    threads: int,
    **settings: Any,
) -> None:
    """Write what the detector finds in the images of a CSV (FOUND).

    path: image, number, and caption or noun; lines without a number are left out. images: folder of
        the images. tiles, iou: each pair of them is a setting. confidence_floor: the lowest score
        that is kept.
    settings: of `Detector`, but for these. ValueError if no image can be read.
    """
    rows = [
        row
        for row in folder_csv(Source(Path(path), ImageFolder(Path(images), follow_links)))
        if row.number is not None
    ]
    lines: list[dict[str, Any]] = []
    unreadable: list[str] = []
    with claim_gpu(device) as claimed:
        for n in tiles:
            detector = Detector(
                weights, confidence_floor=confidence_floor, iou=min(iou), tiles=n, device=claimed,
                threads=threads, **settings,
            )  # fmt: skip
            unreadable.clear()
            readable = _prepared(rows, detector, unreadable)
            bar = progress(total=len(rows), unit="image", desc=f"detect, tiles {n}")
            with bar:
                while chunk := list(islice(readable, batch)):
                    results = detector.at([prepared for _, prepared in chunk], iou)
                    for (row, _), each in zip(chunk, results, strict=True):
                        facts = {"image": row.name, "text": row.caption or row.noun,
                                 "number": row.number, "tiles": n}  # fmt: skip
                        lines += [
                            facts | {"iou": value, "class_id": one.class_id, "score": one.score}
                            for value, one in zip(iou, each, strict=True)
                        ]
                    bar.update(len(chunk))
    if unreadable:
        log.warning("%d of %d images are left out: %s", len(unreadable), len(rows), unreadable[:5])
    if not lines:
        raise ValueError(
            f"{path}: none of {len(rows)} counted images can be read ({unreadable[:3]}): they are"
            f" looked for below {images}; correct calibration.images, or the names"
        )
    names = {str(number): name for number, name in sorted(detector.names.items())}
    metadata = {"class_names": json.dumps(names), "weights_sha256": detector.digest,
                "left_out": str(len(unreadable))}  # fmt: skip
    write_table(pa.Table.from_pylist(lines, schema=FOUND), found_parquet, metadata)


def _prepared(
    rows: list[Row], detector: Detector, unreadable: list[str]
) -> Iterator[tuple[Row, Prepared]]:
    """The rows whose image can be read, prepared; the others are named in `unreadable`."""
    for row in rows:
        try:
            image = decode(read_file(row.image, MAX_BYTES))
        except Unusable as error:
            unreadable.append(f"{row.name}: {error}")
        else:
            yield row, detector.prepare(image)
