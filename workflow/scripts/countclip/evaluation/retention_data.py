"""Retention tasks in their usual forms: class folders, Parquet, Flickr30k, COCO.

Nothing is downloaded, and no loader reads a pickle.
"""

import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from countclip.data.images import MAX_BYTES, SUFFIXES, Unusable, decode, read_file
from countclip.model import inputs
from countclip.model.libraries import datasets, open_clip
from countclip.model.preprocessing import Preprocessing
from countclip.runtime.csv_files import raise_problems
from countclip.runtime.files import parquet_batches, read_json, read_text, write_json
from countclip.runtime.folders import Contents, ImageFolder, contents, inside, subfolders

log = logging.getLogger(__name__)


@dataclass
class Task:
    """Images and texts, of which those belong together that share an id.

    texts: the names of the classes, or the captions. of_image, of_text: int (n,), (m,), the ids.
    templates: sentences for the name of a class; captions have none and are taken as they are.
    """

    images: Iterable[Image.Image]
    texts: Sequence[str]
    of_image: np.ndarray
    of_text: np.ndarray
    templates: Sequence[str] = ()


def read(source: str, folder: str, annotations: str | None, follow_links: bool = False) -> Task:
    """The task in `folder`, in the form `source` of SOURCES; `annotations` where that has captions.

    follow_links: whether images that captions name may be links to files outside the folder.
    ValueError where its files are of another form.
    """
    where = [folder] if annotations is None else [folder, annotations]
    try:
        if annotations is None:
            task = SOURCES[source](folder)
        else:
            task = SOURCES[source](ImageFolder(Path(folder), follow_links), annotations)
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{where[-1]}: is not as `source: {source}` has it: {error!r}; name the file of its"
            " publisher, or another source (docs/guides/own-retention-tasks.md)"
        ) from error
    if not len(task.of_image):
        raise ValueError(f"{folder}: there is no image for this task in it")
    return task


def _classes(folder: str) -> Task:
    """A folder of images for each class, of the class's name, `_` for a space."""
    images, classes = _image_folder(folder)
    return _labelled(images, classes)


def _imagenet(folder: str) -> Task:
    """ImageNet's validation images, a folder for each of the 1,000 WordNet ids. The names of the
    classes are those that CLIP's authors made of them, which open_clip has in the ids' order."""
    images, classes = _image_folder(folder)
    if len(classes) != len(open_clip.IMAGENET_CLASSNAMES):
        raise ValueError(
            f"{folder}: ImageNet has a folder for each of 1,000 WordNet ids (n01440764, ...), here"
            f" are {len(classes)}. Move the validation images into theirs"
        )
    return _labelled(images, open_clip.IMAGENET_CLASSNAMES)


def _image_folder(folder: str) -> tuple[list[tuple[Path, int]], list[str]]:
    """The images of a folder for each class, each with its class, and the names of the classes."""
    top, images, others, passed = contents(folder, deep=False), [], [], []
    classes = subfolders(folder)
    if not classes:
        raise ValueError(
            f"{folder}: holds no folder, and needs one for each class, with its images"
        )
    for label, path in enumerate(classes):
        files, hidden = contents(path)
        known = [file for file in files if file.suffix.lower() in SUFFIXES]
        if not known:
            raise ValueError(
                f"{path}: holds no image, so it is no class: take it away, or put images with one"
                f" of these names into it: {' '.join(sorted(SUFFIXES))}"
            )
        images += [(file, label) for file in known]
        others += sorted({*files} - {*known})
        passed += hidden
    others += top.files
    if others:
        names = ", ".join(map(str, others[:5])) + (", ..." if others[5:] else "")
        log.warning(
            "%s: %d files have no name of an image of a class: %s", folder, len(others), names
        )
    Contents(others, top.passed + passed).log_passed(folder)
    return images, [path.name for path in classes]


def _food101(folder: str) -> Task:
    """Food101's test images; `folder` holds its `food-101`."""
    data = datasets.Food101(folder, split="test", loader=str)
    return _labelled(data, data.classes)


def _labelled(data: Sequence[tuple[str, int]], classes: Sequence[str]) -> Task:
    files, labels = zip(*(data[i] for i in range(len(data))), strict=True)
    return Task(map(_image, files), _readable(classes), np.array(labels), np.arange(len(classes)))


def _readable(classes: Sequence[str]) -> list[str]:
    for name in classes:
        if (shown := os.fsencode(name).decode("utf-8", "backslashreplace")) != name:
            raise ValueError(f"class {shown!r}: its name is not UTF-8; rename its folder")
    return [name.replace("_", " ") for name in classes]


def _parquet(folder: str) -> Task:
    """Parquet files as the Hugging Face hub has them for uoft-cs/cifar10, cifar100 and others: a
    column of images and one of labels, whose names the file's metadata holds."""
    listed = contents(folder, deep=False)
    listed.log_passed(folder)
    files = [file for file in listed.files if file.suffix == ".parquet"]
    if not files:
        raise ValueError(f"{folder}: there is no Parquet file in it")
    # The hub has test-00000-of-00001.parquet and train-00000-of-00001.parquet in one folder.
    splits = {file.name.partition("-")[0] for file in files if "-of-" in file.name}
    if len(splits) > 1:
        raise ValueError(
            f"{folder}: has the splits {', '.join(sorted(splits))}; put the files of one, the test"
            " split, into a folder by themselves"
        )
    metadata = json.loads((pq.read_schema(files[0]).metadata or {}).get(b"huggingface", b"{}"))
    columns = metadata.get("info", {}).get("features", {})
    image = next((name for name, is_ in columns.items() if is_.get("_type") == "Image"), None)
    label = next((name for name, is_ in columns.items() if is_.get("_type") == "ClassLabel"), None)
    if image is None or label is None:
        raise ValueError(
            f"{files[0]}: its metadata names no column of images with labels, as the hub's have;"
            " make it a folder of images for each class, source: folder"
        )
    classes = columns[label]["names"]
    labels = np.concatenate(
        [pq.read_table(file, columns=[label])[label].to_numpy() for file in files]
    )
    if (wrong := ~np.isin(labels, np.arange(len(classes)))).any():
        raise ValueError(
            f"{folder}: row {wrong.argmax()}: its {label} is {labels[wrong][0]}, no class; take a"
            " split whose labels are published"
        )

    def stored() -> Iterator[Image.Image]:
        for file in files:
            parts = parquet_batches(file, 16, [image])
            rows = chain.from_iterable(part.to_pylist() for part in parts)
            for number, row in enumerate(rows):
                body = (row[image] or {}).get("bytes") or b""
                yield _decoded(body, f"{file}: row {number}")

    return Task(stored(), _readable(classes), labels.astype(int), np.arange(len(classes)))


def _flickr30k(folder: ImageFolder, annotations: str) -> Task:
    """Lines of `image.jpg#0`, a tab and a caption; only the images in them count, so a file of the
    1,000 test images gives the published protocol. torchvision's loader does not say which line is
    wrong, and takes an image's eleventh caption for another image's."""
    texts: dict[str, list[str]] = {}
    for number, line in enumerate(read_text(annotations).split("\n"), 1):
        place, _, text = line.partition("\t")
        name = place.rpartition("#")[0].strip()
        if name and text.strip():
            texts.setdefault(name, []).append(text.strip())
        elif line.strip():
            raise ValueError(
                f"{annotations}: line {number}: must be image.jpg#0, a tab and a caption"
            )
    return _captioned(folder, sorted(texts.items()), annotations)


def _coco(folder: ImageFolder, annotations: str) -> Task:
    """COCO's JSON of captions. torchvision's loader would need one more package to read it."""
    stored = read_json(annotations)
    texts: dict[int, list[str]] = {image["id"]: [] for image in stored["images"]}
    for row in stored["annotations"]:
        texts[row["image_id"]].append(row["caption"].strip())
    names = {image["id"]: image["file_name"] for image in stored["images"]}
    rows = [(names[i], texts[i]) for i in sorted(texts) if texts[i]]
    log.info("%s: %d images, %d without a caption", annotations, len(names), len(names) - len(rows))
    return _captioned(folder, rows, annotations)


def _captioned(folder: ImageFolder, rows: list[tuple[str, list[str]]], annotations: str) -> Task:
    files, problems = [], []
    for name, _ in rows:
        try:
            files.append(inside(folder, name))
        except ValueError as error:
            problems.append(str(error))
    raise_problems(annotations, problems)
    captions = [texts for _, texts in rows]
    return Task(
        map(_image, files),
        [text for texts in captions for text in texts],
        np.arange(len(files)),
        np.repeat(np.arange(len(files)), [len(texts) for texts in captions]),
    )


def _image(path: str | Path) -> Image.Image:
    try:
        body = read_file(Path(path), MAX_BYTES)
    except Unusable as error:
        raise ValueError(f"{path}: {error.detail}; mend it or take it away") from error
    return _decoded(body, str(path))


def _decoded(body: bytes, place: str) -> Image.Image:
    try:
        return decode(body)
    except Unusable as error:
        raise ValueError(f"{place}: {error}; mend it or take it away") from error


SOURCES: dict[str, Callable[..., Task]] = {
    "folder": _classes,
    "parquet": _parquet,
    "food101": _food101,
    "imagenet": _imagenet,
    "flickr30k": _flickr30k,
    "coco": _coco,
}
"""Forms of a task by the name in the config. None of these reads a pickle: CIFAR's files are
pickles, so it comes as Parquet, and ImageNet without the file of labels that torchvision keeps."""


def pack(task: Task, how: Preprocessing | int, images: str, texts: str) -> None:
    """Publish the images at the model's size, uint8 (n, size, size, 3), and the rest as JSON; `how`
    as `inputs.pack_images` has it."""
    inputs.pack_images(task.images, len(task.of_image), how, images)
    ids = {"of_image": task.of_image.tolist(), "of_text": task.of_text.tolist()}
    write_json({"texts": list(task.texts), **ids}, texts)


def unpack(images: str, texts: str, templates: str | None = None) -> Task:
    """The task that `pack` published, its images an array mapped from the file; with the templates
    of a file where it has classes."""
    stored = json.loads(Path(texts).read_text(encoding="utf-8"))
    ids = np.array(stored["of_image"]), np.array(stored["of_text"])
    sentences = read_templates(templates) if templates else ()
    return Task(np.load(images, mmap_mode="c"), stored["texts"], *ids, sentences)


def read_templates(path: str) -> list[str]:
    """One sentence a line with {} for the class's name; # begins a comment."""
    lines = [line.strip() for line in read_text(path).split("\n")]
    templates = [line for line in lines if line and not line.startswith("#")]
    braces = [re.findall("[{}]", line) for line in templates]
    if wrong := [line for line, found in zip(templates, braces, strict=True)
                 if found != ["{", "}"] or "{}" not in line]:  # fmt: skip
        raise ValueError(
            f"{path}: {wrong[0]!r} must hold {{}} once, where the class's name goes, and no other"
            " brace"
        )
    if not templates:
        raise ValueError(f"{path}: there is no template in it")
    return templates
