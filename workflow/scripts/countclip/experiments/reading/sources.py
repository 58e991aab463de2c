"""Files of a split's questions and images: the publisher's JSON beside a folder, or Parquet."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from countclip.experiments.reading.data import (
    Question,
    image_files,
    parquet_images,
    read_json,
    read_parquet,
)
from countclip.runtime.files import read_json as read_any_json
from countclip.runtime.folders import ImageFolder
from countclip.runtime.resources import resource

Images = Iterator[tuple[str, Path | bytes]]
"""image_id, and the image's file or its bytes."""


class Source(NamedTuple):
    """Where the questions and images of a split are.

    files: one JSON, or Parquet files in their order. folder: of the JSON's images; None where they
    are inside the Parquet.
    """

    files: list[str]
    folder: ImageFolder | None

    @classmethod
    def of(cls, files: Sequence[str], settings: dict[str, Any]) -> "Source":
        """The source that a rule's inputs are.

        files: one JSON, Parquet files, or the list of `hub.download_parts`. settings: `source`,
            `images` and `follow_links` of the config.
        """
        kind = settings["source"]
        if kind == "json":
            images = Path(resource(settings["images"]))
            return cls(list(files), ImageFolder(images, settings["follow_links"]))
        if kind == "hub":
            (listed,) = map(Path, files)
            files = [str(listed.with_suffix("") / name) for name in read_any_json(listed)]
        parts = sorted(file for file in files if file.endswith(".parquet"))
        if not parts:
            raise ValueError(
                f"reading.splits: {', '.join(files) or 'the folder'} has no .parquet file: name the"
                " folder that holds those of one split"
            )
        return cls(parts, None)

    def questions(self) -> list[Question]:
        """The questions, checked; of a JSON also that the folder has each image."""
        if self.folder is None:
            return read_parquet(self.files)
        questions = read_json(self.files[0])
        image_files(questions, self.folder)
        return questions

    def images(self, image_ids: Sequence[str]) -> Images:
        """Yield the images named, in the order of `image_ids`, which is that of the questions."""
        if self.folder is not None:
            asked = [Question(f"image {number}", number, name, "", [])
                     for number, name in enumerate(image_ids)]  # fmt: skip
            yield from image_files(asked, self.folder).items()
            return
        wanted = set(image_ids)
        yield from (image for image in parquet_images(self.files) if image[0] in wanted)
