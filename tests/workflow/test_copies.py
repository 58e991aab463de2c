"""What a file holds counts, not its time: copies, touches, and replacements that are older."""

import os
import shutil
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from .conftest import HOME, Workflow

YEAR = 365 * 24 * 3600


def copied(finished: Workflow, home: Path) -> Workflow:
    """A copy of the finished run as `cp -r` makes it: all files are new, in whatever order."""
    shutil.copytree(finished.home, home, copy_function=shutil.copyfile)
    return Workflow(home / finished.folder.relative_to(finished.home), home)


def test_a_copied_run_is_finished(finished, tmp_path):
    copy = copied(finished, tmp_path / "copy")
    assert copy.plan("all") == {}
    assert "Nothing to be done" in copy("plan")


def test_touched_results_rerun_nothing(finished, tmp_path):
    """Each is made newer than all that follows from it, whatever its size, folders too."""
    copy = copied(finished, tmp_path / "copy")
    made = list((finished.folder / "results").rglob("*"))
    made.sort(key=lambda path: path.lstat().st_mtime, reverse=True)
    sizes = [path.stat().st_size for path in made]
    assert max(sizes) > 1_000_000  # Snakemake's own limit for comparing contents
    for second, path in enumerate(made):
        time = made[0].stat().st_mtime + second
        os.utime(copy.folder / path.relative_to(finished.folder), (time, time))
    assert copy.plan("all") == {}


def test_snakemakes_report_has_the_page_and_needs_no_finished_run(finished, tmp_path):
    copy = copied(finished, tmp_path / "copy")
    for made in ("report", "partial"):
        said = copy("--report", f"{made}.zip", cores=None)
        with zipfile.ZipFile(copy.folder / f"{made}.zip") as report:
            names = {Path(name).name for name in report.namelist() if "/data/" in name}
        assert "table1.csv" in names
        assert ("report.html" in names) == (made == "report")
        assert ("results are not there" in said) == (made == "partial")
        for file in ("report.html", "countbench/audit.html"):
            (copy.folder / "results" / file).unlink(missing_ok=True)


def test_a_changed_result_reruns_what_follows_from_it(finished, tmp_path):
    copy = copied(finished, tmp_path / "copy")
    with open(copy.folder / "results/training/images/main.npy", "r+b") as images:
        images.seek(-1, os.SEEK_END)
        images.write(b"\x01" if images.read(1) != b"\x01" else b"\x02")
    assert "train_variant" in copy.plan("all")


@pytest.fixture(scope="module")
def users_files(finished, tmp_path_factory) -> tuple[Workflow, dict, Path]:
    """A finished run of what reads files of a user: a benchmark, a retention task, repairs."""
    folder = tmp_path_factory.mktemp("data {of a user}")
    miniature = HOME / "resources/miniature"
    shutil.copytree(miniature / "images", folder / "images")
    for name in ("repairs.csv", "nouns.csv", "prompts.txt"):
        shutil.copy(miniature / name, folder)
    for name, colours in (("stars", "red blue"), ("rings", "green black")):
        (folder / "task/deep" / name).mkdir(parents=True)
        for colour in colours.split():
            image = Image.effect_noise((64, 64), 99).convert("RGB")
            image.save(folder / f"task/deep/{name}/{colour}.png")
            image.save(folder / f"{colour}.png")
    (folder / "shelf.csv").write_text("image,number,noun\nred.png,3,dots\nblue.png,4,dots\n")
    overlay = {
        "countbench": {"repairs": str(folder / "repairs.csv")},
        "benchmarks": {"shelf": {"source": "folder", "path": str(folder / "shelf.csv")}},
        "retention": {"tasks": {"shapes": {
            "source": "folder", "folder": str(folder / "task/deep"), "annotations": None,
            "templates": str(folder / "prompts.txt"),
        }}},
    }  # fmt: skip
    copy = copied(finished, tmp_path_factory.mktemp("users") / "copy")
    targets = ("results/benchmarks/shelf/benchmark.parquet", "results/retention/shapes/images.npy")
    copy(*targets, "results/countbench/benchmark.parquet", **overlay)
    assert copy.plan(*targets, "results/countbench/benchmark.parquet", **overlay) == {}
    return copy, overlay, folder


@pytest.mark.parametrize(
    ("file", "rule"),
    [
        ("shelf.csv", "read_benchmark"),
        ("blue.png", "read_benchmark"),
        ("repairs.csv", "repair_countbench"),
        ("images/200.png", "repair_countbench"),
        ("task/deep/rings/black.png", "pack_retention"),
    ],
)
def test_a_file_that_an_older_one_replaces_is_noticed(users_files, tmp_path, file, rule):
    """Of the same size, and as old as what `cp -p`, `unzip` and `rsync -a` leave."""
    copy, overlay, folder = users_files
    path = folder / file
    before, times = path.read_bytes(), path.stat()
    changed = before.replace(b"red", b"RED") if file.endswith("csv") else before[:-1] + b"\x00"
    if file == "repairs.csv":
        changed = before[:-2] + b"?\n"
    assert changed != before
    assert len(changed) == len(before)
    targets = ("results/benchmarks/shelf/benchmark.parquet", "results/retention/shapes/images.npy")
    try:
        path.write_bytes(changed)
        os.utime(path, (times.st_mtime - YEAR,) * 2)
        planned = copy.plan(*targets, "results/countbench/benchmark.parquet", **overlay)
        assert set(planned) == {rule}
    finally:
        path.write_bytes(before)
