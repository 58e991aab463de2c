"""Trained models and counting sets as other programs open them: open_clip, a hub's folder."""

import io
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import open_clip
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image
from safetensors import safe_open

import reports
import tiny_training
from countclip.model.clip import Clip, encode_image, encode_text
from countclip.model.inputs import resize
from countclip.report import card, sheets
from countclip.runtime.files import read_json, write_json
from countclip.runtime.resources import HOME

CAPTIONS = ["two dogs", "nine cats", "dogs"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The folder of a training, its results around it."""
    home = tmp_path_factory.mktemp("home")
    run = home / "results/training/mine/seed3"
    run.mkdir(parents=True)
    config = tiny_training.make_config(home)
    tiny_training.make_variant(config, run)
    tiny_training.train_variant(config, run)
    return run


def images() -> list[Image.Image]:
    """Images of several shapes."""
    pixels = np.random.default_rng(5).integers(0, 256, (90, 130, 3), np.uint8)
    whole = Image.fromarray(pixels)
    return [whole, whole.crop((0, 0, 40, 90)), whole.resize((64, 64))]


def same_answers(folder: Path, trained: Path, **tokenizer) -> None:
    """What open_clip computes from a folder is what this workflow does from the weights."""
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}", **tokenizer)(CAPTIONS)
    config = next(trained.parents[3].glob("tiny-test.json"))
    ours = Clip("tiny-test", str(trained / "selected.safetensors"), str(config))
    model.eval(), ours.model.eval()
    with torch.no_grad():
        theirs = model.encode_image(torch.stack(list(map(preprocess, images()))), normalize=True)
        pixels = np.stack([resize(image, ours.image_size) for image in images()])
        mine = encode_image(ours.model, ours.normalise(torch.from_numpy(pixels)))
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=0)
        text = encode_text(ours.model, torch.from_numpy(ours.tokenize(CAPTIONS).astype(np.int64)))
        expected = model.encode_text(tokens, normalize=True)
        torch.testing.assert_close(text, expected, atol=1e-6, rtol=0)
    assert theirs.std() > 0.01


def test_open_clip_opens_the_folder_of_a_training_in_one_line(trained):
    same_answers(trained, trained)
    assert (trained / card.WEIGHTS).resolve() == (trained / "selected.safetensors").resolve()


def test_clip_benchmark_opens_it_in_one_line(trained):
    """Where that package is: it brings many others, so CI alone installs it, without them."""
    benchmark = pytest.importorskip("clip_benchmark.models")
    model, transform, tokenizer = benchmark.load_clip(
        "open_clip", f"local-dir:{trained}", None, None, "cpu"
    )
    config = next(trained.parents[3].glob("tiny-test.json"))
    ours = Clip("tiny-test", str(trained / "selected.safetensors"), str(config))
    pixels = torch.stack(list(map(transform, images())))
    packed = torch.from_numpy(np.stack([resize(image, ours.image_size) for image in images()]))
    model.eval(), ours.model.eval()
    with torch.no_grad():
        theirs = model.encode_image(pixels, normalize=True)
        mine = encode_image(ours.model, ours.normalise(packed))
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=0)
        assert torch.equal(tokenizer(CAPTIONS), ours.tokenizer(CAPTIONS))


def write_results(results: Path) -> None:
    table = reports.table1([("baseline", 30.0, None), ("mine", 45.06, 8e-7)], {"mine": "A | <b>"})
    for name in ("best_on_benchmark", "selected"):
        for bound, add in (("", 0), ("_low", -5), ("_high", 5)):
            table[f"accuracy_{name}{bound}"] = [31.0 + add, 44.03 + add]
    table["scale"], table["mae"] = "paper", 1.25
    sheets.write_csv(table, str(results / "table1.csv"))


def front_matter(path: Path) -> dict:
    text = (path / "README.md").read_text(encoding="utf-8")
    return yaml.safe_load(re.match("---\n(.*?)\n---\n", text, re.DOTALL)[1])


def test_a_model_card_has_the_results_and_its_folder_opens_anywhere(trained, tmp_path):
    results = trained.parents[2]
    write_results(results)
    output = tmp_path / "card"
    card.make_model_card(trained, output)
    names = {"README.md", card.CONFIG, card.WEIGHTS, "tiny-test.merges.txt.gz"}
    assert {file.name for file in output.iterdir()} == names
    assert not (output / card.WEIGHTS).is_symlink()
    same_answers(output, trained, bpe_path=str(output / "tiny-test.merges.txt.gz"))
    again = Clip("again", str(output / card.WEIGHTS), str(output / card.CONFIG))
    ours = tiny_training.make_clip(trained.parents[3] / "tiny-test.json")
    assert again.encode(CAPTIONS[1]) == ours.encode(CAPTIONS[1])
    text = (output / "README.md").read_text(encoding="utf-8")
    home = str(trained.parents[3])
    assert home.encode() in (trained / "selected.safetensors").read_bytes()
    assert not any(home.encode() in file.read_bytes() for file in output.iterdir())
    with safe_open(output / card.WEIGHTS, "pt") as file:
        assert json.loads(file.metadata()["about"])["model"]["name"] == "tiny-test"
    assert "n = 506" in text
    assert "44.03 [39.03, 49.03]" in text
    assert "<b>" not in re.sub(r"\\<", "", text.split("---", 2)[2])
    assert 'bpe_path=f"{folder}/tiny-test.merges.txt.gz"' in text
    front = front_matter(output)
    assert front["library_name"] == "open_clip"
    [entry] = front["model-index"][0]["results"]
    assert entry["metrics"] == [{"type": "accuracy", "value": 44.03}]


def test_of_a_miniature_the_hub_gets_no_numbers(trained, tmp_path):
    results = trained.parents[2]
    write_results(results)
    text = (results / "table1.csv").read_text(encoding="utf-8")
    (results / "table1.csv").write_text(text.replace(",paper", ",miniature"), encoding="utf-8")
    card.make_model_card(trained, tmp_path / "card", "end")
    assert "model-index" not in front_matter(tmp_path / "card")
    text = (tmp_path / "card/README.md").read_text(encoding="utf-8")
    assert "say nothing about CLIP" in text


def make_set(results: Path) -> Path:
    """A counting set of five pairs and three others, with the images of its one part."""
    folder = results / "counting_set/few"
    folder.mkdir(parents=True)
    keys = [f"{i:09d}" for i in range(8)]
    common = {"part": ["p"] * 8, "key": keys, "url": [f"http://x.example/{k}" for k in keys]}
    table = pa.table(common | {"caption": [f"c{i}" for i in range(8)]})
    split = pa.array(["train", "heldout", "train", "train", "heldout"])
    number = pa.array([2, 3, 4, 5, 10], pa.int8())
    counting = table.slice(0, 5).append_column("number", number).append_column("split", split)
    pq.write_table(counting, folder / "counting.parquet")
    pq.write_table(table.slice(5), folder / "non_counting.parquet")
    numbers = [{"number": 2, "word": "two", "candidates": 7, "train": 1, "heldout": 0}]
    step = {"step": "filter", "rows": 90, "kept": 8, "lost": {"no_number_word": 82, "nsfw": 0}}
    summary = {"settings": {"class_rule": "none"}, "counting": [step], "numbers": numbers,
               "train": 3, "heldout": 2, "non_counting_pairs": 3}  # fmt: skip
    write_json(summary, folder / "summary.json")
    shard = results / "images/p"
    shard.mkdir(parents=True)
    with tarfile.open(shard / "0.tar", "w") as tar:
        for key in keys:
            body = f"image {key}".encode()
            info = tarfile.TarInfo(f"{key}.jpg")
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    index = {"key": keys, "shard": ["0.tar"] * 8, "member": [f"{k}.jpg" for k in keys]}
    pq.write_table(pa.table(index), shard / "index.parquet")
    pq.write_table(pa.table({"key": keys}), results / "images/p.parquet")
    return folder


def test_a_counting_set_reads_back_with_its_images(tmp_path, monkeypatch):
    folder, output = make_set(tmp_path / "results"), tmp_path / "card"
    monkeypatch.setattr(card, "BATCH", 2)
    card.make_set_card(folder, output, [tmp_path / "results/images/p.parquet"])
    counting = pq.read_table(folder / "counting.parquet").to_pylist()
    seen = []
    for split in ("train", "heldout"):
        rows = pq.read_table(output / f"counting/{split}.parquet").to_pylist()
        for row in rows:
            assert row.pop("image") == {"bytes": f"image {row['key']}".encode(), "path": None}
            seen.append(row | {"split": split})
    assert sorted(seen, key=lambda row: row["key"]) == counting
    others = pq.ParquetFile(output / "non_counting/train.parquet")
    assert others.metadata.num_rows == 3
    features = json.loads(others.schema_arrow.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["caption"] == {"dtype": "string", "_type": "Value"}
    front = front_matter(output)
    files = {f["path"] for config in front["configs"] for f in config["data_files"]}
    assert files == {p.relative_to(output).as_posix() for p in output.rglob("*.parquet")}
    text = (output / "README.md").read_text(encoding="utf-8")
    assert "8 of 90 left (lost: no_number_word 82)" in text
    assert "| two | 7 | 1 | 0 |" in text


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "countclip.report.card", *arguments],
        cwd=cwd, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(HOME / "workflow/scripts")},
    )  # fmt: skip


def test_the_command_says_what_is_missing_and_overwrites_nothing_else(tmp_path):
    make_set(tmp_path / "results")
    failed = run("--run", "results/training/gone/seed1", cwd=tmp_path)
    assert failed.returncode == 1
    assert "name the folder of a finished training" in failed.stderr
    assert "Traceback" not in failed.stderr
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work", encoding="utf-8")
    failed = run("--set", "few", "--output", "mine", cwd=tmp_path)
    assert failed.returncode == 1
    assert "no card made it" in failed.stderr
    assert (tmp_path / "mine/thesis.txt").is_file()
    for _ in range(2):
        assert run("--set", "few", cwd=tmp_path).returncode == 0
    made = tmp_path / "results/cards/counting_set_few"
    assert "image" not in pq.read_schema(made / "counting/train.parquet").names
    assert read_json(tmp_path / "results/counting_set/few/summary.json")["train"] == 3
