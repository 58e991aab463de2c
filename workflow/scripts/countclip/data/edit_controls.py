"""Control images: objects of another class painted out or copied, so that the number stays.

A model that counts gives the same answer to them. One that has learnt what edits look like, and
that an edited image shows many or few, does not. They are made from held-out pairs, as further
benchmarks: a table for `erased`, one for `pasted`, and one of the same pairs `untouched`.
"""

import csv
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
from PIL import Image

from countclip.data import image_edits
from countclip.data.compose_sources import ComposeSettings, Source, read_sources, shrunk
from countclip.data.image_edits import Refused
from countclip.data.images import decode
from countclip.data.shards import read_images
from countclip.runtime.files import publish, write_json

log = logging.getLogger(__name__)

KINDS = ("untouched", "erased", "pasted")


def edits_of_others(
    image: np.ndarray, source: Source, settings: ComposeSettings
) -> dict[str, np.ndarray]:
    """The image with each edit of objects of another class, by kind; Refused where one fails.

    Erased are all of one class; pasted are as many copies of one object as its class may have
    without outnumbering the objects counted.
    """
    rng = np.random.default_rng([settings.seed, int(source.row["sha256"][:12], 16)])
    is_chosen, room = source.other_class(image.shape[:2], rng, settings)
    others = source.others[is_chosen]
    kept = np.vstack([source.boxes, source.others[~is_chosen]])
    copies = min(room, settings.most_changed)
    return {
        "untouched": image,
        "erased": image_edits.erase(image, others, kept, rng, settings.edit),
        "pasted": image_edits.paste(image, others, source.all_boxes, copies, rng, settings.edit),
    }


def make_controls(
    *,
    counting: str | Path,
    images: dict[str, str],
    detections: dict[str, str],
    confidence: float,
    settings: ComposeSettings,
    folder: str | Path,
    summary: str | Path,
) -> None:
    """Publish a folder of control images with a table of each of KINDS: image, caption, number.

    counting: table of a counting set, of whose held-out pairs they are. images, detections: part ->
    path. The arguments else are those of `compose.compose_pairs`. summary: pairs, and those that
    gave none by reason.
    """
    cv2.setNumThreads(1)
    heldout = pl.read_parquet(counting).filter(pl.col("split") == "heldout")
    sources, lost = read_sources(heldout, detections, images, confidence, settings)
    sources.sort(key=lambda source: (source.row["part"], source.row["key"]))
    tables: dict[str, list[tuple[str, str, int]]] = {kind: [] for kind in KINDS}
    with publish(folder) as temporary:
        (temporary / "images").mkdir(parents=True)
        for source, body in _with_images(sources, images):
            try:
                image, scaled = shrunk(decode(body), source)
                edited = edits_of_others(image, scaled, settings)
            except Refused as error:
                lost[str(error)] += 1
                continue
            for kind, image in edited.items():
                name = f"images/{kind}_{source.row['part']}_{source.row['key']}.png"
                Image.fromarray(image).save(temporary / name, compress_level=1)
                tables[kind].append((name, source.row["caption"], source.number))
        for kind, lines in tables.items():
            with open(temporary / f"{kind}.csv", "w", encoding="utf-8", newline="") as file:
                head = ("image", "caption", "number")
                csv.writer(file, lineterminator="\n").writerows([head, *lines])
    made = len(tables["untouched"])
    write_json({"heldout": len(heldout), "made": made, "lost": dict(sorted(lost.items()))}, summary)
    log.info("%d of %d held-out pairs have controls", made, len(heldout))
    if not made:
        raise RuntimeError(
            f"{counting}: no held-out pair gives a control image ({dict(lost)}): its images need"
            " objects of another class beside those that are counted; leave the benchmarks below"
            " results/composed/controls out"
        )


def _with_images(sources: list[Source], images: dict[str, str]) -> Any:
    """Each source with the bytes of its image; sources are sorted by part and key."""
    for part in sorted({source.row["part"] for source in sources}):
        of_part = [source for source in sources if source.row["part"] == part]
        bodies = read_images(images[part], [source.row["key"] for source in of_part])
        yield from ((source, body) for source, (_, body) in zip(of_part, bodies, strict=True))
