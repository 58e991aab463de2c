"""The miniature's example of a user's benchmark: images, and a CSV of what they show."""

import csv
from pathlib import Path

from countclip.data.number_words import NUMBERS
from countclip.runtime.files import publish
from miniature import scenes

PER_CLASS = 10


def make(table_csv: str, image_folder: str) -> None:
    """Draw PER_CLASS unique scenes of each number; write a table (image, noun, number) beside."""
    lines = []
    with publish(image_folder) as folder:
        folder.mkdir()
        for index in range(PER_CLASS * len(NUMBERS)):
            number = NUMBERS[index % len(NUMBERS)]
            scene = scenes.make("own_benchmark", index, number)
            name = f"{index:02}.jpg"
            scenes.draw(scene).save(folder / name, "JPEG", quality=90)
            things = f"{scene.colour or ''} {scenes.plural(scene.name)}".strip()
            lines.append((f"{Path(image_folder).name}/{name}", things, number))
    with publish(table_csv) as path, open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("image", "noun", "number"), *lines])
