"""Retention tasks of the miniature: images to classify, and captions to retrieve.

The scenes come from a stream that no model is trained on, and show only one class each; no caption
names a number. The files have common formats, so the loaders of `retention` read them like others.
"""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

from countclip.runtime.files import publish, sha256, write_text
from miniature.scenes import CLASSES, Scene, draw, make, plural

PER_CLASS = 18
PAIRS = 100


def write_tasks(
    *,
    class_folder: str | Path,
    pair_folder: str | Path,
    captions: str | Path,
    digests: str | Path,
) -> None:
    """Publish two tasks, classification and retrieval.

    class_folder: gets a folder of images for each class. pair_folder: gets images, and `captions`
        their captions, all different, in the format of Flickr30k. digests: gets the sha256 of each
        image, which stands for the folders where their times mean nothing.
    """
    with publish(class_folder) as folder:
        number = dict.fromkeys(CLASSES, 0)
        for scene in _scenes():
            if number[scene.name] < PER_CLASS:
                place = folder / plural(scene.name) / f"{number[scene.name]:02}.png"
                place.parent.mkdir(parents=True, exist_ok=True)
                draw(scene).save(place)
                number[scene.name] += 1
            elif min(number.values()) == PER_CLASS:
                break
    written: dict[str, str] = {}
    with publish(pair_folder) as folder:
        folder.mkdir()
        for scene in _scenes():
            text = f"{scene.colour} {plural(scene.name)} on a {scene.pattern} background"
            if scene.colour and text not in written:
                written[text] = f"{len(written):03}.png"
                draw(scene).save(folder / written[text])
            if len(written) == PAIRS:
                break
    write_text("".join(f"{name}#0\t{text}\n" for text, name in written.items()), captions)
    images = [file for path in (class_folder, pair_folder) for file in Path(path).rglob("*.png")]
    lines = sorted(f"{file.relative_to(Path(digests).parent)}\t{sha256(file)}\n" for file in images)
    write_text("".join(lines), digests)


def _scenes() -> Iterator[Scene]:
    """Scenes of two to ten objects in turn, all of one class."""
    for index in count():
        scene = make("retention", index, 2 + index % 9)
        if len(scene.objects) == scene.number:
            yield scene
