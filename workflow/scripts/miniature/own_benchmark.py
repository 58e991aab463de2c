"""What does a benchmark of one's own look like? Pictures, and a CSV of what they show."""

import csv
from pathlib import Path

from countclip.data.number_words import NUMBERS
from countclip.runtime.files import publish
from miniature import scenes

PER_CLASS = 10


def make(table: str, pictures: str) -> None:
    """Draw PER_CLASS scenes of each number that nothing else shows, and write `table` (image, noun,
    number), which lies beside the folder `pictures`."""
    lines = []
    with publish(pictures) as folder:
        folder.mkdir()
        for index in range(PER_CLASS * len(NUMBERS)):
            number = NUMBERS[index % len(NUMBERS)]
            scene = scenes.make("own_benchmark", index, number)
            name = f"{index:02}.jpg"
            scenes.draw(scene).save(folder / name, "JPEG", quality=90)
            things = f"{scene.colour or ''} {scenes.plural(scene.name)}".strip()
            lines.append((f"{Path(pictures).name}/{name}", things, number))
    with publish(table) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("image", "noun", "number"), *lines])
