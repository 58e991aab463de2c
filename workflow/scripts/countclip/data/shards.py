"""Images of a part, read from the tar shards that the fetch wrote, or where they lie."""

import tarfile
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from countclip.data.images import MAX_BYTES, Unusable, read_file
from countclip.runtime.files import sha256

MANIFEST = pa.schema(
    {
        "key": pa.string(),  # the candidate's row, nine digits
        "sample_id": pa.string(),
        "url": pa.string(),
        "status": pa.string(),
        "sha256": pa.string(),  # of the bytes that were downloaded, or of the user's file
        "width": pa.int32(),  # of the stored image
        "height": pa.int32(),
    }
)


def shards_of(manifest: str | Path) -> Path:
    """The folder of a manifest's shards: results/images/{part}/."""
    return Path(manifest).with_suffix("")


def read_images(
    manifest: str | Path, keys: Iterable[str] | None = None
) -> Iterator[tuple[str, bytes]]:
    """Yield the images of a manifest (or of `keys`) as (key, file), sorted by key.

    An image is a member of a shard, or a file of a user, whose sha256 the index has too
    (local_images.py). KeyError for a key without an image; FileNotFoundError if the shards are
    gone; ValueError for a user's file that has changed.
    """
    folder = shards_of(manifest)
    # One open tar for each pass of the fetch, whose shards are in order. It is closed as soon as
    # it has been read, since it holds the list of its members.
    tars: dict[str, tuple[str, tarfile.TarFile]] = {}
    try:
        index = pq.read_table(folder / "index.parquet").to_pylist()
        images = {row["key"]: row for row in index}
        for key in sorted(images if keys is None else set(keys)):
            if images[key].get("file") is not None:
                yield key, _read_unchanged(images[key], manifest)
                continue
            shard, member = images[key]["shard"], images[key]["member"]
            name = shard.split("/")[0]
            if name not in tars or tars[name][0] != shard:
                if name in tars:
                    tars[name][1].close()
                tars[name] = shard, tarfile.open(folder / shard)  # noqa: SIM115
            yield key, tars[name][1].extractfile(member).read()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error.filename or folder} is gone, although {manifest} lists its images. Delete "
            f"{manifest} and run again: its images are then fetched anew"
        ) from error
    finally:
        for _, tar in tars.values():
            tar.close()


def _read_unchanged(image: dict[str, str], manifest: str | Path) -> bytes:
    """The bytes of a user's file, which must be those that the manifest lists."""
    try:
        body = read_file(Path(image["file"]), MAX_BYTES)
        why = "" if sha256(body) == image["sha256"] else "has changed"
    except Unusable as error:
        why = error.detail
    if why:
        raise ValueError(
            f"{image['file']}: {why} since {manifest} listed it: delete {manifest} and run again,"
            " or put the file back"
        )
    return body


def read_pairs(manifests: Iterable[str | Path], *tables: str | Path) -> Iterator[bytes]:
    """Yield the image of each row of some tables of pairs, in their order.

    manifests: of all parts in the tables. tables: columns part and key; rows sorted by these.
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
