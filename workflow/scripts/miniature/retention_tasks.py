"""What else does the miniature's CLIP know? Pictures to name and captions to find, for retention.

The scenes are of a stream that nothing is trained on and show one kind of thing alone; no caption
names a number. They are written as people keep such data, so the loaders of `retention` read them
as they read anyone's.
"""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

from countclip.runtime.files import publish, write_text
from miniature.scenes import CLASSES, Scene, draw, make, plural

PER_CLASS = 18
PAIRS = 100


def write_tasks(things: str | Path, pairs: str | Path, captions: str | Path) -> None:
    """Publish two tasks: `things`, a folder of pictures for each kind of thing; `pairs`, a folder
    of pictures, whose captions, no two alike, stand in `captions` as Flickr30k's do."""
    with publish(things) as folder:
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
    with publish(pairs) as folder:
        folder.mkdir()
        for scene in _scenes():
            text = f"{scene.colour} {plural(scene.name)} on a {scene.pattern} background"
            if scene.colour and text not in written:
                written[text] = f"{len(written):03}.png"
                draw(scene).save(folder / written[text])
            if len(written) == PAIRS:
                break
    write_text("".join(f"{name}#0\t{text}\n" for text, name in written.items()), captions)


def _scenes() -> Iterator[Scene]:
    """Of two to ten things in turn, without others among them."""
    for index in count():
        scene = make("retention", index, 2 + index % 9)
        if len(scene.objects) == scene.number:
            yield scene
