"""The weights in between: the ends are the two models themselves, and the choice is as stated."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import tiny_training
from countclip.data.number_words import WORDS
from countclip.evaluation import (
    counting as evaluation_counting,
)
from countclip.evaluation import (
    retention as evaluation_retention,
)
from countclip.evaluation import (
    retention_data,
    wise_ft,
)
from countclip.evaluation.counting import Questions
from countclip.model import embeddings
from countclip.model.clip import Clip
from countclip.model.interpolation import interpolate
from countclip.report import retention, sheets


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two models of the same form: the config of the untouched one, and the tuned weights."""
    folder = tmp_path_factory.mktemp("models")
    config = tiny_training.make_config(folder)
    base = tiny_training.make_clip(config)
    save_file(base.model.state_dict(), folder / "base.safetensors")
    torch.manual_seed(1)
    tuned = {
        name: tensor + 0.3 * tensor.std() * torch.randn_like(tensor)
        if tensor.is_floating_point() and tensor.ndim
        else tensor
        for name, tensor in base.model.state_dict().items()
    }
    save_file(tuned, folder / "tuned.safetensors")
    model = {"name": "tiny-test", "config": str(config)}
    return model | {"pretrained": str(folder / "base.safetensors")}, str(
        folder / "tuned.safetensors"
    )


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (36, 64, 64, 3), np.uint8)


def rows(pictures):
    for index, (pixels, number) in enumerate(zip(pictures, 4 * list(WORDS), strict=True)):
        image = Image.fromarray(pixels)
        yield {"index": index, "image": image, "caption": f"{WORDS[number]} dogs", "number": number}


def test_the_ends_are_the_two_models_bit_for_bit(models):
    model, weights = models
    base, tuned = Clip(**model), Clip(**model | {"pretrained": weights})
    states = base.model.state_dict(), tuned.model.state_dict()
    for end, state in enumerate(states):
        between = interpolate(*states, end)
        assert all(torch.equal(between[name], state[name]) for name in state)
    half = interpolate(*states, 0.5)["visual.conv1.weight"]
    mean = (states[0]["visual.conv1.weight"] + states[1]["visual.conv1.weight"]) / 2
    torch.testing.assert_close(half, mean)
    assert not torch.equal(half, states[0]["visual.conv1.weight"])


def test_the_sweep_measures_what_the_models_themselves_answer(models, pictures, tmp_path):
    model, weights = models
    counting = pd.DataFrame(
        {
            "caption": [f"{WORDS[n]} cats" for n in 4 * list(WORDS)],
            "number": 4 * list(WORDS),
            "split": ["train", "heldout", "heldout"] * 12,
        }
    )
    counting.to_parquet(tmp_path / "counting.parquet")
    np.save(tmp_path / "images.npy", pictures)
    pairs = str(tmp_path / "counting.parquet"), str(tmp_path / "images.npy")
    task = retention_data.Task(
        pictures, ["dogs", "cats", "ten"], np.arange(36) % 3, np.arange(3), ["{}", "two {}"]
    )
    counted = {index: 2 + index % 9 for index in range(0, 36, 2)}
    wise_ft.sweep(
        weights,
        model,
        rows(pictures),
        pairs,
        {"mine": task},
        str(tmp_path / "seed1.csv"),
        alphas=[0, 0.5, 1],
        rows=counted,
        replace="once",
    )
    swept = pd.read_csv(tmp_path / "seed1.csv", float_precision="round_trip").set_index("alpha")
    for alpha, pretrained in ((0, model["pretrained"]), (1, weights)):
        clip = Clip(**model | {"pretrained": pretrained})
        asked = Questions.of(clip, [row for row in rows(pictures) if row["index"] in counted])
        similarity = embeddings.similarities(clip, asked.images, asked.tokens)
        accuracy = evaluation_counting.accuracy(similarity, asked.numbers)
        assert swept["benchmark_accuracy"][alpha] == accuracy
        assert swept["mine"][alpha] == evaluation_retention.headline(
            evaluation_retention.answers(clip, task)
        )
        held = Questions.heldout(clip, *pairs)
        assert held.numbers.tolist() == counting.query("split == 'heldout'")["number"].tolist()
        assert np.array_equal(held.images, pictures[held.indices])
        similarity = embeddings.similarities(clip, held.images, held.tokens)
        assert swept["heldout_accuracy"][alpha] == evaluation_counting.accuracy(
            similarity, held.numbers
        )
    assert sorted(tmp_path.glob("*.safetensors")) == [], "weights in between are not kept"


def test_the_best_alphas_are_those_of_the_stated_rule():
    """The mean over two seeds; benchmark and held-out pairs choose different alphas."""
    first = pd.DataFrame(
        {
            "alpha": [0, 0.5, 1],
            "benchmark_accuracy": [0.2, 0.3, 0.6],
            "heldout_accuracy": [0.2, 0.5, 0.5],
            "things": [0.9, 0.8, 0.6],
            "pairs": [0.7, 0.8, 0.6],
        }
    )
    about = {"checkpoint": "end", "benchmark": "repaired", "scale": "paper"}
    table = retention.wise_ft(
        {"a": [first, first.assign(benchmark_accuracy=[0.2, 0.5, 0.8])]},
        100,
        variants=[{"id": "a", "label": "A"}],
        tasks=["things", "pairs"],
        **about,
    ).set_index("alpha")
    assert table["benchmark_accuracy"].round(6).tolist() == [20, 40, 70]
    assert table["retention"].round(6).tolist() == [80, 80, 60]
    assert table.index[table["best_on_benchmark"]].tolist() == [1]
    assert table.index[table["selected"]].tolist() == [0.5]
    assert table["benchmark_accuracy_low"][1] < 70 < table["benchmark_accuracy_high"][1]
    assert table["seeds"].tolist() == [2, 2, 2]


def test_an_alpha_and_all_numbers_are_written_as_they_are(tmp_path):
    run, csv = tmp_path / "a/seed0.csv", tmp_path / "wise_ft.csv"
    run.parent.mkdir()
    shares = "benchmark_accuracy,heldout_accuracy,things"
    alphas, third = [0.0, 0.125, 0.1 + 0.2], 1 / 3
    run.write_text(f"alpha,{shares}\n" + "".join(f"{a},{third},0.3,0.9\n" for a in alphas))
    options = {"tasks": ["things"], "checkpoint": "end", "benchmark": "repaired", "scale": "paper"}
    variants, path = [{"id": "a", "label": "A"}], tmp_path / "wise_ft.json"
    retention.make_wise_ft(
        [str(run)], csv_path=str(csv), json_path=str(path), rows={1: 2}, variants=variants,
        **options,
    )  # fmt: skip
    table = sheets.read_csv(csv)
    assert table["alpha"].tolist() == alphas
    assert table["benchmark_accuracy"].tolist() == [100 * third] * 3
    assert table["selected"].tolist() == [True, False, False]
    (sheet,) = sheets.read_sheets(str(path))
    assert [row[1].text for row in sheet.rows] == ["0", "0.125", "0.3"]
    assert {row[2].text for row in sheet.rows} == {"33.33"}
    assert [row[6].text for row in sheet.rows] == ["on the benchmark, on held-out pairs", "", ""]
