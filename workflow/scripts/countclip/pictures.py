"""How is a stored or downloaded picture read? In one way everywhere, whoever sent it."""

import io
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")
MAX_PIXELS = 100_000_000
"""Of a stored picture. What is kept was bounded by the config when it came, well below this."""
MAX_SCANS = 500
"""Of a JPEG: each walks the whole picture, and a small file can hold enough of them for a day."""


class Unusable(ValueError):
    """A file that is no picture to count in; `status` as in audit.csv."""

    def __init__(self, status: str, detail: str) -> None:
        super().__init__(f"{status} ({detail})")
        self.status, self.detail = status, detail


def decode(body: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The picture as a person sees it: RGB, upright as its EXIF says, transparency on white.

    Unusable if it is none, is broken or has too many pixels (counted before it is decoded).
    """
    try:
        image = Image.open(io.BytesIO(body), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise Unusable("undecodable", "too many pixels") from error
    except Exception as error:  # Pillow's readers raise nearly anything on hostile bytes
        if body.startswith(SIGNATURES):
            raise Unusable("undecodable", "the head of a picture alone") from error
        raise Unusable("not_an_image", "no format of a picture") from error
    if image.width * image.height > max_pixels:
        raise Unusable("undecodable", f"{image.width} x {image.height} pixels are too many")
    if image.format in ("JPEG", "MPO") and body.count(b"\xff\xda") > MAX_SCANS:
        raise Unusable("undecodable", f"a JPEG of more than {MAX_SCANS} scans")
    image.decodermaxblock = 1 << 13  # a small file can be slow: let a caller's alarm come through
    try:
        image.load()
        with suppress(Exception):  # broken EXIF says nothing about the picture
            image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):  # convert() would make nearly all of it white
            image = image.convert("I").point(lambda value: value / 256).convert("L")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return image.convert("RGB")
    except Exception as error:
        raise Unusable("undecodable", f"broken {image.format}") from error


def shards_of(manifest: str | Path) -> Path:
    """The folder of the shards that a manifest names: results/images/{part}/."""
    return Path(manifest).with_suffix("")


def read_images(
    manifest: str | Path, keys: Iterable[str] | None = None
) -> Iterator[tuple[str, bytes]]:
    """The images of a manifest (or those of `keys`) as (key, bytes of the file), sorted by key.

    KeyError for a key without an image; FileNotFoundError if the shards are gone.
    """
    folder = shards_of(manifest)
    # One of each pass of the fetch, whose shards are in order; a tar that was read lists all of its
    # members, so none is kept longer.
    tars: dict[str, tuple[str, tarfile.TarFile]] = {}
    try:
        index = pq.read_table(folder / "index.parquet").to_pylist()
        images = {row["key"]: row for row in index}
        for key in sorted(images if keys is None else set(keys)):
            shard, member = images[key]["shard"], images[key]["member"]
            name = shard.split("/")[0]
            if name not in tars or tars[name][0] != shard:
                if name in tars:
                    tars[name][1].close()
                tars[name] = shard, tarfile.open(folder / shard)  # noqa: SIM115
            yield key, tars[name][1].extractfile(member).read()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error.filename} is gone, but {manifest} stands for it. Delete {manifest} and "
            "run again: its images are then fetched anew"
        ) from error
    finally:
        for _, tar in tars.values():
            tar.close()


def read_pairs(manifests: Iterable[str | Path], *tables: str | Path) -> Iterator[bytes]:
    """The image of each row of some tables of pairs (columns part and key), in the rows' order.

    manifests: those of all parts that the tables name. The rows must be sorted by part and key.
    """
    by_part = {Path(manifest).stem: manifest for manifest in manifests}
    for table in tables:
        rows = pq.read_table(table, columns=["part", "key"])
        pairs = list(zip(rows["part"].to_pylist(), rows["key"].to_pylist(), strict=True))
        if pairs != sorted(pairs):
            raise ValueError(f"{table}: its rows are not sorted by part and key; make it anew")
        for part, group in groupby(pairs, key=itemgetter(0)):
            for _, data in read_images(by_part[part], [key for _, key in group]):
                yield data


def read_benchmark(benchmark: str | Path, images: str | Path) -> Iterator[dict[str, Any]]:
    """The rows to measure on, by index: index, caption, number, image (PIL, RGB)."""
    rows = {row["index"]: row for row in pq.read_table(benchmark).to_pylist() if row["included"]}
    for batch in pq.ParquetFile(images).iter_batches(batch_size=16):
        for stored in batch.to_pylist():
            row = rows.pop(stored["index"])
            if row["sha256"] != stored["sha256"]:
                raise ValueError(f"{images}: index {row['index']} is not the benchmark's picture")
            yield {
                "index": row["index"],
                "caption": row["caption"],
                "number": row["number"],
                # Its size was checked when it was audited.
                "image": decode(stored["image"], max_pixels=row["width"] * row["height"]),
            }
    if rows:
        raise ValueError(f"{images}: pictures are missing for {sorted(rows)}; delete it, run again")
