"""A hundred questions in TextVQA's form through the scripts of the rules, one after another."""

import json
import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from snakemake.iocontainers import Namedlist

import tiny_training
from countclip.experiments.reading import settings
from countclip.experiments.reading.metric import majority
from countclip.runtime.job import message
from countclip.runtime.provenance import SCRIPTS, canonical
from countclip.settings import config_files
from countclip.settings.models import packing
from countclip.training import checkpoints
from miniature import signs

N = {"train": 100, "validation": 30}
ROWS = ["zero_shot", "statements", "naive", "hard_both"]


def named(**files: str | list[str]) -> Namedlist:
    """Inputs or outputs of a job, as Snakemake hands them to a script."""
    found = Namedlist()
    for name, paths in files.items():
        start, is_one = len(found), isinstance(paths, str)
        found.extend([paths] if is_one else paths)
        found._set_name(name, start, end=None if is_one else len(found))
    return found


def run(
    script: str,
    spec: Any,
    inputs: dict,
    outputs: dict | list,
    resources: dict | None = None,
    **wildcards: str,
) -> None:
    """A script as its rule runs it, with logs on the error stream."""
    runpy.run_path(
        str(SCRIPTS / f"{script}.py"),
        {
            "snakemake": SimpleNamespace(
                rule=script,
                log=[],
                threads=1,
                input=named(**inputs),
                output=outputs if isinstance(outputs, list) else named(**outputs),
                params=Params(canonical(spec)),
                wildcards=SimpleNamespace(**wildcards),
                resources=SimpleNamespace(**resources or {}),
            )
        },
    )  # fmt: skip


class Params(list):
    """The params of a job: here its spec alone."""

    def __init__(self, spec: str) -> None:
        super().__init__([spec])
        self.spec = spec


def make_world(folder: Path) -> None:
    """Both splits as the publisher has them, as JSON with images and as Parquet."""
    (folder / "images").mkdir()
    for split, n in N.items():
        questions, readings, images = [], [], {}
        for scene, reading, of_scene in signs.entries(split, n):
            images[reading["image_id"]] = signs._jpeg(signs.draw(scene))
            readings.append(reading)
            questions += of_scene
            if len(questions) >= n:
                break
        questions = questions[:n]
        for key, body in images.items():
            (folder / f"images/{key}.jpg").write_bytes(body)
        for name, entries in ((split, questions), (f"{split}_ocr", readings)):
            top = {"dataset_type": "val", "dataset_name": "textvqa", "dataset_version": "0.5.1"}
            (folder / f"{name}.json").write_text(json.dumps(top | {"data": entries}))
        read = {one["image_id"]: one["ocr_tokens"] for one in readings}
        rows = {name: [one[name] for one in questions] for name in questions[0]}
        rows["ocr_tokens"] = [read[key] for key in rows["image_id"]]
        rows["image"] = [{"bytes": images[key], "path": None} for key in rows["image_id"]]
        (folder / f"parquet_{split}").mkdir()
        table = pa.table(rows)
        for part, start in enumerate(range(0, n, n // 2)):
            name = f"{split}-{part:05}-of-00002.parquet"
            pq.write_table(table.slice(start, n // 2), folder / f"parquet_{split}" / name)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A folder with the world, a model, and results of the scripts up to the table."""
    folder = tmp_path_factory.mktemp("reading")
    make_world(folder)
    tiny_training.make_config(folder)
    clip = tiny_training.make_clip(folder / "tiny-test.json")
    checkpoints.save(clip.model, folder / "tiny-test.safetensors", {})
    signs.make_words(2, folder / "words.csv", folder / "words")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for source in ("json", "parquet"):
            for split in N:
                make_split(source, split)
        run_rest()
    return folder


def config_of(source: str) -> dict[str, Any]:
    config = config_files.default()
    reading = config["reading"]
    reading |= {"source": source, "images": "images", "variants": ROWS, "seeds": [1, 2]}
    reading["splits"] = {
        split: {
            "questions": f"{split}.json" if source == "json" else f"parquet_{split}",
            "ocr": f"{split}_ocr.json" if source == "json" else None,
        }
        for split in N
    }
    reading["model"] = {"name": "tiny-test", "pretrained": "tiny-test.safetensors"}
    reading["model"]["config"] = "tiny-test.json"
    reading["training"] |= {"batch_size": 20, "steps": 4, "evaluations": 2}
    reading["statements"]["answers"] = 3
    reading["words"] |= {"csv": "words.csv", "images": "."}
    reading["crops"]["views"] = ["centre", "grid_2"]
    reading["panels"]["questions"] = 2
    settings.check(config)
    return config


def files_of(source: str, split: str) -> list[str]:
    if source == "json":
        return [f"{split}.json"]
    return [str(path) for path in sorted(Path(f"parquet_{split}").iterdir())]


def make_split(source: str, split: str, view: str = "centre", **changes: Any) -> None:
    """The tables and the packed images of a split, in a folder of its source."""
    config = config_of(source)
    config["reading"] |= changes
    place, files = f"{source}/{split}", files_of(source, split)
    run(
        "make_reading_split",
        settings.split_settings(config, split),
        {"files": files, "ocr": settings.ocr(config, split)},
        {name: f"{place}/{name}.parquet" for name in ("questions", "images")}
        | {"summary": f"{place}/summary.json"},
        split=split,
    )
    pack(source, split, view)


def pack(source: str, split: str, view: str) -> None:
    config, place = config_of(source), f"{source}/{split}"
    model = packing({"name": "tiny-test", "pretrained": None, "config": "tiny-test.json"})
    run(
        "pack_reading_images",
        settings.source_settings(config) | model,
        {"files": files_of(source, split), "images": f"{place}/images.parquet"},
        {"images": f"{place}/{view}.npy", "sizes": f"{place}/{view}_sizes.parquet"},
        view=view,
    )


def run_rest() -> None:
    """All scripts from the pool to the tables and figures, on the JSON's splits."""
    config = config_of("json")
    splits = [f"json/{split}" for split in N]
    questions = [f"{split}/questions.parquet" for split in splits]
    embedded = [f"{split}/embeddings.safetensors" for split in splits]
    reading, pool = config["reading"], {"pool": "pool.csv"}
    run(
        "make_reading_pool", {"reading": {"pool": reading["pool"]}},
        {"questions": questions[0]}, pool | {"summary": "pool.json"},
    )  # fmt: skip
    cpu = {"accelerator": "cpu", "batch": 8, "checkpoint_minutes": 10}
    run(
        "embed_reading", settings.embedding_settings(config),
        {"questions": questions, "images": [f"{split}/centre.npy" for split in splits]} | pool,
        {"splits": embedded, "pool": "pool.safetensors", "summary": "embed.json"}, cpu,
    )  # fmt: skip
    both = {"questions": questions, "embeddings": embedded}
    for hard_on in settings.clusterings(config):
        run(
            "cluster_reading", settings.cluster_settings(config), both,
            {"clusters": f"{hard_on}.parquet", "summary": f"{hard_on}.json"}, hard_on=hard_on,
        )  # fmt: skip
    common = pool | {"pool_embeddings": "pool.safetensors", "summary": "embed.json"}
    for name in ("naive", "hard_both"):
        clusters = ["both.parquet"] if name == "hard_both" else []
        outputs = {
            key: [f"{name}/seed{seed}/{file}" for seed in (1, 2)]
            for key, file in (("end", "end.safetensors"), ("history", "history.csv"),
                              ("model", "model.json"))
        }  # fmt: skip
        run(
            "train_reading", settings.training_settings(config, name),
            both | common | {"clusters": clusters}, outputs, cpu, variant=name,
        )  # fmt: skip
    weights = [f"{name}/seed{seed}/end.safetensors" for name in ("naive", "hard_both")
               for seed in (1, 2)]  # fmt: skip
    answers = [f"seed{seed}/{name}.parquet" for name in ("naive", "hard_both") for seed in (1, 2)]
    answers.insert(0, "seed0/zero_shot.parquet")
    run(
        "predict_reading", settings.prediction_settings(config),
        both | common | {"clusters": ["both.parquet"], "weights": weights}, answers,
    )  # fmt: skip
    validation = {"questions": questions[1], "embeddings": embedded[1]} | common
    run(
        "predict_reading_statements", settings.statement_settings(config), validation,
        {"predictions": "seed0/statements.parquet"}, cpu,
    )  # fmt: skip
    images = {"images": "json/validation/images.parquet"}
    source = settings.source_settings(config)
    run(
        "read_reading_ocr", source | {"reading": {"ocr_longest_side": 256}},
        {"files": ["validation.json"]} | images, {"ocr": "ocr.parquet"},
    )  # fmt: skip
    run(
        "match_reading_ocr", {}, {"questions": questions[1], "ocr": "ocr.parquet"} | pool,
        {"predictions": "seed0/ocr.parquet"},
    )  # fmt: skip
    published = SCRIPTS.parents[1] / "resources/reading_published.csv"
    views = {"csv": "table.csv", "json": "table.json", "markdown": "table.md"}
    run(
        "make_reading_table", settings.table_settings(config),
        {"questions": questions, "summaries": [f"{split}/summary.json" for split in splits],
         "pool_summary": "pool.json", "clusters": ["both.json"], "published": str(published),
         "predictions": [*answers, "seed0/statements.parquet", "seed0/ocr.parquet"]}
        | images | pool,
        views,
    )  # fmt: skip
    run(
        "make_reading_counts", {"scale": "miniature"}, {"questions": questions},
        {"counts": "counts.csv", "csv": "overlap.csv", "json": "overlap.json", "markdown": "o.md"},
    )  # fmt: skip
    run(
        "plot_reading_panels", settings.panel_settings(config),
        {"files": ["validation.json"], "questions": questions[1],
         "predictions": [answers[0], answers[1], answers[3]]} | pool,
        {"svg": "panels.svg", "png": "panels.png"},
    )  # fmt: skip
    run(
        "read_reading_words", settings.word_settings(config),
        {"words": ["words.csv"], "summary": "embed.json", "weights": weights[:1]},
        {"words": "words.parquet"}, cpu,
    )  # fmt: skip
    scale = {"scale": "miniature"}
    run(
        "make_reading_words", {"labels": settings.labels(config, "words")} | scale,
        {"words": "words.parquet"},
        {"csv": "words_table.csv", "json": "words.json", "markdown": "words.md"},
    )  # fmt: skip
    pack("json", "validation", "grid_2")
    looked = ["views/centre.parquet", "views/grid_2.parquet"]
    run(
        "look_at_reading_views", settings.reader_settings(config, "crops"),
        validation | {"images": [f"json/validation/{view}.npy" for view in ("centre", "grid_2")],
                      "weights": weights[:1]},
        looked, cpu,
    )  # fmt: skip
    run(
        "make_reading_crops", {"labels": settings.labels(config, "crops")} | scale,
        {"views": looked, "questions": questions[1],
         "sizes": "json/validation/centre_sizes.parquet"} | images | pool,
        {"csv": "crops.csv", "json": "crops.json", "markdown": "crops.md"},
    )  # fmt: skip


def entries(path: Path) -> list[dict]:
    return json.loads(path.read_text())["data"]


@pytest.mark.parametrize("split", N)
def test_json_and_parquet_give_the_same_questions_and_images(world, split):
    one, other = (world / source / split for source in ("json", "parquet"))
    same = ("questions.parquet", "centre.npy", "centre_sizes.parquet")
    for name in same:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    questions = pd.read_parquet(one / "questions.parquet")
    assert len(questions) == N[split]
    assert questions["image"].nunique() < N[split]  # some have two questions
    tables = [pd.read_parquet(folder / "images.parquet") for folder in (one, other)]
    assert [*map(list, tables[0]["words"])] == [*map(list, tables[1]["words"])]
    assert tables[0]["boxes"].notna().all()
    assert tables[1]["boxes"].isna().all()
    assert len(np.load(one / "centre.npy", mmap_mode="r")) == len(tables[0])


def test_the_table_has_its_rows_and_says_what_it_was_made_of(world):
    table = pd.read_csv(world / "table.csv", keep_default_na=False).set_index("row")
    assert (table["n"] == N["validation"]).all()
    assert list(table.index[table["kind"] == "reader"]) == [*ROWS, "ocr"]
    assert table.loc[["naive", "hard_both"], "seeds"].astype(float).tolist() == [2, 2]
    assert table.loc["ocr", "soft"] > 3 * float(table.loc["majority", "soft"])
    assert table.loc["pool_or_ocr_ceiling", "soft"] >= table.loc["ocr_ceiling", "soft"]
    sheets = json.loads((world / "table.json").read_text(encoding="utf-8"))
    notes = " ".join(sheets[0]["notes"])
    for words in ("The train split has 100 questions", "from train.json (sha256 ",
                  "Model: tiny-test, frozen", "statement “{question} {answer}”"):  # fmt: skip
        assert words in notes
    assert len(sheets) == 2


def test_words_and_views_are_tables(world):
    words = pd.read_csv(world / "words_table.csv")
    assert set(words["reader"]) == {"zero_shot", "naive"}
    assert words.loc[words["by"] == "faces", "n"].sum() == 2 * 12
    crops = pd.read_csv(world / "crops.csv").set_index("view")
    assert crops["parts"].to_dict() == {"centre": 1, "grid_2": 4}
    # CLIP's crop leaves 128 of 168 pixels, from the 20th on; boxes are Rosetta's.
    shares = []
    ocr = {one["image_id"]: one["ocr_info"] for one in entries(world / "validation_ocr.json")}
    for one in entries(world / "validation.json"):
        found = [read["bounding_box"] for read in ocr[one["image_id"]]
                 if read["word"].lower() == majority(one["answers"])]  # fmt: skip
        for box in found[:1]:
            start, end = box["top_left_x"], box["top_left_x"] + box["width"]
            shares.append((min(end, 148 / 168) - max(start, 20 / 168)) / box["width"])
    assert crops["with_box"].tolist() == [len(shares)] * 2
    shown = 100 * np.mean(np.array(shares) >= 0.97)
    assert 0 < shown < 100
    assert crops.loc["centre", "answer_shown"] == pytest.approx(shown)
    answered = pd.read_parquet(world / "seed1/naive.parquet")
    seen = pd.read_parquet(world / "views/centre.parquet")
    assert seen["predicted"].tolist() == answered["predicted"].tolist()  # it was trained on that
    assert (world / "panels.png").stat().st_size > 10_000


def test_another_seed_trains_another_reader(world):
    one, other = ((world / f"naive/seed{seed}/end.safetensors").read_bytes() for seed in (1, 2))
    assert one != other
    made = json.loads((world / "hard_both/seed2/model.json").read_text())
    assert (made["variant"], made["seed"], made["random_share"]) == ("hard_both", 2, 0.0)


# ---- what is wrong ends a job with its file and entry ----


def copied(world: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """The validation split of the JSON in a folder of its own; returns its entries."""
    shutil.copytree(world / "images", folder / "images")
    for name in ("validation.json", "validation_ocr.json", "tiny-test.json"):
        shutil.copy(world / name, folder)
    monkeypatch.chdir(folder)
    return entries(folder / "validation.json")


def fewer_answers(wrong: list[dict]) -> None:
    wrong[3]["answers"].pop()


def twice(wrong: list[dict]) -> None:
    wrong[7]["question_id"] = wrong[2]["question_id"]


def unnamed(wrong: list[dict]) -> None:
    wrong[5]["image_id"] = "f" * 16


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (fewer_answers, "validation.json: 1 wrong\n  entry 3 (question {3}): has 9 answers;"),
        (twice, "entry 7 (question {2}): has the question_id of entry 2 (question {2}) too"),
        (unnamed, "images: 1 of {n} images are missing: ffffffffffffffff.jpg, of entry 5"),
    ],
)
def test_a_wrong_entry_ends_the_job(world, tmp_path, monkeypatch, wrong, expected):
    of_split = copied(world, tmp_path, monkeypatch)
    ids = {number: one["question_id"] for number, one in enumerate(of_split)}
    wrong(of_split)
    Path("validation.json").write_text(json.dumps({"data": of_split}))
    with pytest.raises(ValueError) as error:  # noqa: PT011
        make_split("json", "validation")
    numbers = {str(number): str(value) for number, value in ids.items()}
    numbers["n"] = str(len({one["image_id"] for one in of_split}))
    for key, value in numbers.items():
        expected = expected.replace(f"{{{key}}}", value)
    assert expected in message(error.value)


def test_a_split_that_must_be_complete_is_counted(world, tmp_path, monkeypatch):
    copied(world, tmp_path, monkeypatch)
    with pytest.raises(ValueError, match=r"validation\.json: 30 questions on \d\d images; the "
                       r"validation split of TextVQA v0\.5\.1 has 5,000 on 3,166"):  # fmt: skip
        make_split("json", "validation", complete=True)


def test_an_empty_pool_ends_the_job(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    questions = pd.read_parquet(world / "json/train/questions.parquet")
    questions = questions.assign(answers=[["unanswerable"] * 10] * len(questions))
    questions.to_parquet("questions.parquet")
    with pytest.raises(ValueError, match="the pool of answers is empty: of 100 training questions"
                       " 0 have an empty majority answer and 100 a meta-answer"):  # fmt: skip
        run(
            "make_reading_pool", {"reading": {"pool": {"size": 300, "meta_answers": False}}},
            {"questions": "questions.parquet"}, {"pool": "pool.csv", "summary": "pool.json"},
        )  # fmt: skip


def test_a_folder_without_parquet_is_an_error(world, monkeypatch):
    monkeypatch.chdir(world)
    with pytest.raises(ValueError, match=r"reading\.splits: train\.json has no \.parquet file"):
        run(
            "make_reading_split", settings.split_settings(config_of("parquet"), "train"),
            {"files": ["train.json"], "ocr": []},
            {"questions": "q.parquet", "images": "i.parquet", "summary": "s.json"}, split="train",
        )  # fmt: skip
