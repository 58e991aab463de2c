"""Images of a part of LAION, read from the tar shards that the fetch wrote."""

import tarfile
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pyarrow.parquet as pq


def shards_of(manifest: str | Path) -> Path:
    """The folder of a manifest's shards: results/images/{part}/."""
    return Path(manifest).with_suffix("")


def read_images(
    manifest: str | Path, keys: Iterable[str] | None = None
) -> Iterator[tuple[str, bytes]]:
    """Yield the images of a manifest (or of `keys`) as (key, file), sorted by key.

    KeyError for a key without an image; FileNotFoundError if the shards are gone.
    """
    folder = shards_of(manifest)
    # One open tar for each pass of the fetch, whose shards are in order. It is closed as soon as
    # it has been read, since it holds the list of its members.
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
            f"{error.filename or folder} is gone, although {manifest} lists its images. Delete "
            f"{manifest} and run again: its images are then fetched anew"
        ) from error
    finally:
        for _, tar in tars.values():
            tar.close()


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
