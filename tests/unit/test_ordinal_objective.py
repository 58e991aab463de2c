"""Ordinal regression as a training: prompts, batches, gradients, killed and resumed, selection."""

import dataclasses
import itertools
import json
import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file
from scipy.special import softmax

import tiny_training
from countclip.experiments.ordinal import evaluate, methods
from countclip.experiments.ordinal.batches import Batches
from countclip.experiments.ordinal.bins import Bins
from countclip.experiments.ordinal.evaluate import predict
from countclip.experiments.ordinal.folds import read_fold
from countclip.experiments.ordinal.methods import METHODS, method_of
from countclip.experiments.ordinal.model import make_model
from countclip.experiments.ordinal.objective import Ordinal
from countclip.experiments.ordinal.prompts import FixedPrompts, LearntPrompts, lay_out
from countclip.experiments.ordinal.train import finetune, mean_absolute_error
from countclip.model.clip import Clip
from countclip.model.embeddings import embed_images, embed_texts
from countclip.training import checkpoints
from kill import Forks

TASK = {
    "values": [0, 29],
    "bins": [
        {"word": "child", "from": 0, "to": 12},
        {"word": "young dogs", "from": 13, "to": 18},
        {"word": "cats", "from": 19, "to": 29},
    ],
    "prompt": "age estimation: {word}.",
    "number_prompt": "the age is {number}.",
}
BINS = Bins.of_task(TASK)
SETTINGS = tiny_training.SETTINGS | {
    "optimizer": "radam",
    "schedule": "step",
    "decay_at": [0.5],
    "batch_size": 8,
    "epochs": 1,
    "steps": 12,
    "evaluations": 6,
    "threads": 1,
}
EVERYTHING = {
    "method": "numclip_released",  # adapter, head and learnt words
    "head_rate": 3e-3,
    "word_rate": 2e-3,
}


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    return tiny_training.make_config(tmp_path_factory.mktemp("model"))


@pytest.fixture
def clip(config) -> Clip:
    return tiny_training.make_clip(config)


@pytest.fixture(scope="module")
def home(config, tmp_path_factory) -> Path:
    """A folder with the weights to begin with, a fold and its images: brighter is older. In the
    test part it is younger, so that what is best there is another point of the training."""
    folder = tmp_path_factory.mktemp("fold")
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 30, 61)
    noise = rng.integers(0, 60, (61, 64, 64, 3))
    np.save(folder / "images.npy", (noise + 6 * labels[:, None, None, None]).astype(np.uint8))
    parts = np.array(["train"] * 37 + ["validation"] * 12 + ["test"] * 12)[rng.permutation(61)]
    labels = np.where(parts == "test", 29 - labels, labels).astype(float)
    fold = pd.DataFrame({"index": np.arange(61), "label": labels, "part": parts})
    fold["group"] = [f"p{i % 20}" for i in range(61)]
    # Rows in another order than the images, as a fold has them.
    fold.sample(frac=1, random_state=1).to_parquet(folder / "fold.parquet", index=False)
    checkpoints.save(tiny_training.make_clip(config).model, folder / "start.safetensors", {})
    return folder


def model_of(config: Path, home: Path) -> dict:
    start = str(home / "start.safetensors")
    return {"name": "tiny-test", "pretrained": start, "config": str(config)}


def train(config: Path, home: Path, folder: Path, **settings) -> None:
    outputs = {name: str(folder / f"{name}.safetensors") for name in ("end", "selected", "best")}
    outputs |= {"history": str(folder / "history.csv"), "model": str(folder / "model.json")}
    outputs |= settings.pop("outputs", {})
    finetune(
        str(home / "fold.parquet"),
        str(home / "images.npy"),
        outputs,
        str(folder / "state"),
        {"variant": "ordinal", "seed": 3},
        model=model_of(config, home),
        task=TASK,
        **SETTINGS | settings,
    )


def predicted(config: Path, home: Path, folder: Path, method: str, **settings) -> pd.DataFrame:
    path = folder / f"{method}.parquet"
    predict(
        str(home / "fold.parquet"),
        str(home / "images.npy"),
        settings.pop("weights", None),
        str(path),
        model=model_of(config, home),
        task=TASK,
        method=method,
        threads=1,
        **settings,
    )
    return pd.read_parquet(path)


@pytest.fixture(scope="module")
def undisturbed(config, home, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    train(config, home, folder, **EVERYTHING)
    return folder


# ---- prompts ----


def test_a_prompt_is_its_parts_and_knows_its_words(clip):
    layout = lay_out(clip, "age {word}.", ["cats", "young dogs"])
    encode = clip.tokenizer.encode
    for i, word in enumerate(["cats", "young dogs"]):
        assert layout.tokens[i].tolist()[: layout.tokens.shape[1]] == (
            clip.tokenize(["age cats.", "age young dogs."])[i].tolist()
        )
        assert layout.ids[layout.rows == i].tolist() == encode(word)
    assert layout.before == len(encode("age"))


@pytest.mark.parametrize(
    ("prompt", "words", "message"),
    [
        ("the age is", ["cats"], r"write \{word\} exactly once"),
        ("{word} and {word}", ["cats"], r"write \{word\} exactly once"),
        ("age {word}.", ["cats", ""], "with '': the word's tokens cannot be told from the rest"),
        ("age x{word}", ["cats"], "put a space or punctuation on both sides"),
        ("dogs " * 80 + "{word}", ["cats"], "tokens, and the model takes 75: shorten it"),
    ],
)
def test_a_prompt_that_cannot_be_used_is_named(clip, prompt, words, message):
    with pytest.raises(ValueError, match=message):
        lay_out(clip, prompt, words)


@pytest.mark.parametrize("context", [False, True])
def test_learnt_words_begin_as_the_fixed_ones(clip, context):
    words = ["child", "young dogs", "cats"]
    fixed = FixedPrompts(clip, "age {word}.", words)(clip.model)
    learnt = LearntPrompts.of_words(clip, "age {word}.", words, context)
    torch.testing.assert_close(learnt(clip.model), fixed, rtol=0, atol=1e-6)
    texts = [f"age {word}." for word in words]
    assert torch.equal(fixed, embed_texts(clip, clip.tokenize(texts)))
    n_tokens = sum(len(clip.tokenizer.encode(word)) for word in words)
    assert learnt.words.shape == (n_tokens, 64)
    assert sum(1 for _ in learnt.parameters()) == 1 + context


def test_learnt_words_and_context_get_gradients_and_the_table_none(clip):
    clip.model.requires_grad_(False)
    learnt = LearntPrompts.of_words(clip, "age {word}.", ["child", "cats"], context=True)
    before = learnt(clip.model)
    before[0, 0].backward()
    n_child = len(clip.tokenizer.encode("child"))
    assert (learnt.words.grad[:n_child] != 0).any()
    assert (learnt.words.grad[n_child:] == 0).all()  # of the other prompt
    assert (learnt.context.grad != 0).any()
    assert clip.model.token_embedding.weight.grad is None
    with torch.no_grad():
        learnt.words[n_child:] += 1
    after = learnt(clip.model)
    assert torch.equal(after[0], before[0])
    assert not torch.equal(after[1], before[1])
    # No hook stays behind.
    assert not clip.model.token_embedding._forward_hooks


def test_a_prompt_that_begins_with_its_word_has_no_context(clip):
    learnt = LearntPrompts.of_words(clip, "{word} there.", ["child", "cats"], context=True)
    fixed = FixedPrompts(clip, "{word} there.", ["child", "cats"])
    torch.testing.assert_close(learnt(clip.model), fixed(clip.model), rtol=0, atol=1e-6)
    assert [name for name, _ in learnt.named_parameters()] == ["words"]


def test_ranks_lie_between_three_learnt_ones(clip):
    ranks = LearntPrompts.of_ranks(clip, "age {word}.", [str(n) for n in range(5)])
    # distances 0, 2, 4 of 4: shares 1, 1/2, 0; at rank 1: 3/4, 3/4, 1/4
    expected = [
        [2 / 3, 1 / 3, 0],
        [3 / 7, 3 / 7, 1 / 7],
        [1 / 4, 1 / 2, 1 / 4],
        [1 / 7, 3 / 7, 3 / 7],
        [0, 1 / 3, 2 / 3],
    ]
    np.testing.assert_allclose(ranks.shares, expected, atol=1e-7)
    assert ranks.words.shape == (3, 64)
    table = clip.model.token_embedding.weight
    assert torch.equal(ranks.words[1], table[clip.tokenizer.encode("2")].mean(0))
    embeddings = ranks(clip.model)
    assert embeddings.shape == (5, 64)
    near, far = embeddings[0] @ embeddings[1], embeddings[0] @ embeddings[4]
    assert near > far


# ---- batches ----


def make_batches(n: int = 11, size: int = 4, seed: int = 1, **more) -> Batches:
    images = np.arange(n * 2, dtype=np.uint8)[:, None, None, None] * np.ones(
        (1, 16, 16, 3), np.uint8
    )
    rows = np.arange(n) * 2
    return Batches(images, rows, rows / 2, size=size, seed=seed, **more)


def test_a_batch_follows_from_seed_and_step_alone():
    one, other = make_batches(augment="flip_shift"), make_batches(augment="flip_shift")
    for step in (0, 1, 2, 30):
        other.batch(step + 5)
        a, b = one.batch(step), other.batch(step)
        assert torch.equal(a.labels, b.labels)
        assert torch.equal(a.images[:], b.images[:])
    assert not torch.equal(make_batches(seed=2).batch(0).labels, one.batch(0).labels)


@pytest.mark.parametrize("size", [1, 4, 11, 25])
def test_each_pass_has_every_image_once_with_its_label(size):
    batches = make_batches(size=size)
    labels = []
    for step in range(-(-55 // size)):
        batch = batches.batch(step)
        assert len(batch.images) == len(batch.labels) == size
        assert (batch.images[:][:, 0, 0, 0] == 2 * batch.labels).all()
        labels += batch.labels.tolist()
    passes = np.reshape(labels[:55], (5, 11))
    assert (np.sort(passes, axis=1) == np.arange(11)).all()
    assert not (passes[0] == passes[1]).all()
    assert batches.steps_per_epoch == {1: 11, 4: 3, 11: 1, 25: 1}[size]


def test_an_empty_training_part_is_an_error():
    with pytest.raises(ValueError, match="no image to train on"):
        Batches(np.zeros((3, 8, 8, 3), np.uint8), np.zeros(0, int), np.zeros(0), size=2, seed=1)


# ---- the model and its objective ----


@pytest.mark.parametrize("method", ["zero_shot_concepts", "zero_shot_numbers"])
def test_zero_shot_is_what_clip_says_without_this_experiment(config, home, tmp_path, method):
    clip = Clip(**model_of(config, home))
    fold, images = read_fold(str(home / "fold.parquet"), str(home / "images.npy"))
    test = fold[fold["part"] == "test"]
    words = {
        "zero_shot_concepts": [f"age estimation: {bin['word']}." for bin in TASK["bins"]],
        "zero_shot_numbers": [f"the age is {n}." for n in range(30)],
    }[method]
    texts = embed_texts(clip, clip.tokenize(words))
    cosines = embed_images(clip, images[test["index"].to_numpy()]) @ texts.T
    p = softmax(cosines.double().numpy() * clip.model.logit_scale.exp().item(), axis=1)
    rows = predicted(config, home, tmp_path, method)
    if method == "zero_shot_concepts":
        values = np.array([6, 15.5, 24])
        np.testing.assert_allclose(np.stack(rows["probabilities"]), p, atol=1e-6)
    else:
        values = np.arange(30)
        by_bin = np.stack([p[:, :13].sum(1), p[:, 13:19].sum(1), p[:, 19:].sum(1)], axis=1)
        np.testing.assert_allclose(np.stack(rows["probabilities"]), by_bin, atol=1e-6)
    np.testing.assert_allclose(rows["expectation"], p @ values, atol=1e-4)
    assert rows["argmax"].tolist() == values[p.argmax(1)].tolist()
    assert rows["index"].tolist() == test["index"].tolist()


def make_objective(clip: Clip, method: str, **more) -> Ordinal:
    chosen = method_of(method)
    scale = more.pop("logit_scale", None)
    torch.manual_seed(4)
    objective = Ordinal(make_model(clip, chosen, TASK, scale), chosen, **more)
    objective.setup(Fabric(accelerator="cpu"))
    return objective


def labelled(home: Path, size: int = 7, step: int = 0):
    fold, images = read_fold(str(home / "fold.parquet"), str(home / "images.npy"))
    rows, labels = fold["index"].to_numpy(), fold["label"].to_numpy()
    return Batches(images, rows, labels, size=size, seed=6).batch(step)


def gradients(objective: Ordinal) -> dict[str, torch.Tensor]:
    return {n: p.grad.clone() for n, p in objective.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("method", ["numclip_released", "rank_prompts", "numclip_margin"])
def test_a_batch_in_pieces_has_the_gradients_of_the_whole(config, home, method):
    batch = labelled(home)
    found = []
    for micro_batch in (None, 3):
        objective = make_objective(tiny_training.make_clip(config), method, micro_batch=micro_batch)
        losses = objective.backward(batch, 0)
        found.append((losses, gradients(objective)))
    (whole_losses, whole), (losses, pieces) = found
    assert whole.keys() == pieces.keys()
    for name in whole:
        torch.testing.assert_close(pieces[name], whole[name], rtol=1e-3, atol=2e-5)
    assert losses["loss"].item() == pytest.approx(whole_losses["loss"].item(), rel=1e-5)
    parts = {name: value for name, value in losses.items() if name != "loss"}
    assert sum(parts.values()).item() == pytest.approx(losses["loss"].item(), rel=1e-6)
    assert set(parts) == {f"loss_{name}" for name in method_of(method).losses}


@pytest.mark.parametrize(
    ("method", "trained"),
    [
        ("coarse_ce", {"visual"}),
        ("numclip_exp", {"visual", "head"}),
        ("numclip_released", {"visual", "head", "adapter", "prompts"}),
        ("rank_prompts", {"visual", "prompts"}),
    ],
)
def test_what_is_trained_and_at_which_rate(clip, home, method, trained):
    objective = make_objective(clip, method, head_rate=0.5, word_rate=0.25)
    objective.backward(labelled(home), 0)
    got = gradients(objective)
    assert {
        name.removeprefix("ordinal.model.").removeprefix("ordinal.").split(".")[0] for name in got
    } == trained
    rates = {}
    names = {parameter: name for name, parameter in objective.named_parameters()}
    for group in objective.groups():
        rates |= {names[parameter]: group.get("lr") for parameter in group["params"]}
    assert set(rates) >= set(got)
    for name, rate in rates.items():
        expected = {"head": 0.5, "adapter": 0.5, "prompts": 0.25}.get(name.split(".")[1])
        assert rate == expected, name
    assert not any("transformer.resblocks" in n and "visual" not in n for n in rates)


@pytest.mark.parametrize(("method", "runs"), [("coarse_ce", 0), ("numclip_released", 1)])
def test_fixed_texts_are_encoded_once_and_learnt_ones_each_step(clip, home, method, runs):
    objective = make_objective(clip, method)
    calls = []
    clip.model.transformer.register_forward_hook(lambda *call: calls.append(1))
    for step in range(3):
        objective.backward(labelled(home, step=step), step)
    assert len(calls) == 3 * runs


@pytest.mark.parametrize("words", ["learnt", "ranks"])
def test_a_prediction_encodes_learnt_texts_once(clip, home, words):
    ordinal = make_model(clip, method_of("numclip_released", {"words": words}), TASK)
    images, rows, calls = np.load(home / "images.npy"), np.arange(13), []
    clip.model.transformer.register_forward_hook(lambda *call: calls.append(1))
    with torch.autocast("cpu", torch.bfloat16):
        probabilities, values = ordinal.predict(images, rows, 5)
        assert len(calls) == 1
        with torch.no_grad():  # as if each batch encoded its own
            batches = np.split(rows, [5, 10])
            encoded = [ordinal.encode(torch.from_numpy(images[some])) for some in batches]
            logits = torch.cat([ordinal.logits(embeddings) for embeddings in encoded])
    assert probabilities.tolist() == logits.softmax(1).double().tolist()
    np.testing.assert_allclose(values, ordinal.head(logits).detach(), rtol=1e-5)


def test_options_change_a_method(clip):
    chosen = method_of("coarse_ce", {"words": "learnt_context", "adapter": True})
    ordinal = make_model(clip, chosen, TASK)
    names = {name for name, _ in ordinal.named_parameters() if not name.startswith("model.")}
    assert names == {
        "prompts.words",
        "prompts.context",
        "adapter.layers.0.weight",
        "adapter.layers.2.weight",
    }


def test_losses_see_the_scaled_cosines_and_the_margin_that_goes_with_them(clip, home):
    objective = make_objective(clip, "fcrc_margin", logit_scale=20.0)
    batch = labelled(home)
    z = embed_images(clip, batch.images[:].numpy())
    texts = embed_texts(clip, clip.tokenize(f"age estimation: {b['word']}." for b in TASK["bins"]))
    y = BINS.of(batch.labels)
    raised = 20 * (z @ texts.T).double().numpy() + 20 * 0.1 / 2 * np.abs(np.arange(3) - y[:, None])
    p = softmax(raised, axis=1)[np.arange(7), y]
    loss = objective.backward(batch, 0)["loss"].item()
    assert loss == pytest.approx(-np.log(p).mean(), rel=1e-4)


def test_distances_between_values_are_those_of_midpoints(clip):
    objective = Ordinal(
        make_model(clip, by_value := method_of("fcrc_exp", {"distance": "value"}), TASK), by_value
    )
    assert objective.fcrc.distances[0].tolist() == [0, 9.5, 18]


def test_the_bin_of_a_single_number_reaches_halfway_to_its_neighbours(clip):
    assert BINS.half_widths == (6, 2.5, 5)  # wider bins reach to their ends
    decades = [{"word": f"19{3 + n}0s", "from": n, "to": n} for n in range(5)]
    task = TASK | {"values": [0, 4], "bins": decades}
    assert Bins.of_task(task).half_widths == (0.5,) * 5
    head = make_model(clip, method_of("numclip_exp"), task).head
    logits = torch.full((1, 5), -50.0)
    logits[0, 2] = 50  # the bin 2 alone
    for sign in (-1, 1):
        torch.nn.init.constant_(head.layers[2].bias, 30.0 * sign)
        assert head(logits).item() == pytest.approx(2 + 0.5 * sign, abs=1e-5)


def test_the_l1_loss_and_the_value_are_of_the_bin_starts_as_released(clip, home):
    objective = make_objective(clip, "numclip_released")
    assert objective.ordinal.head.values.tolist() == [0, 13, 19]
    assert make_objective(clip, "numclip_exp").ordinal.head.values.tolist() == [6, 15.5, 24]
    batch = labelled(home)
    with torch.no_grad():
        logits = objective.ordinal.logits(objective.ordinal.encode(batch.images[:]))
        values = objective.ordinal.head(logits)
    expected = (values - batch.labels).abs().mean().item()
    assert objective.backward(batch, 0)["loss_l1"].item() == pytest.approx(expected, rel=1e-5)


def test_logits_are_float32_under_autocast(clip, home):
    for method in ("coarse_ce", "numclip_released"):
        ordinal = make_objective(clip, method).ordinal
        embeddings = torch.randn(4, 64, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            expected = ordinal.logits(embeddings)
            with torch.autocast("cpu", torch.bfloat16):
                assert torch.equal(ordinal.logits(embeddings), expected)
                assert ordinal.encode(labelled(home).images[:]).dtype == torch.float32


def test_an_untrained_method_has_no_objective(clip):
    for name in methods.UNTRAINED:
        with pytest.raises(ValueError, match=f"method {name} is not trained"):
            Ordinal(make_model(clip, method_of(name), TASK), method_of(name))


# ---- the table of methods ----


def test_every_method_is_named_once_and_an_unknown_one_lists_them():
    names = [method.name for method in METHODS]
    assert len(set(names)) == len(names) == len({method.label for method in METHODS})
    with pytest.raises(ValueError, match="unknown method 'numclip'; use constant, linear_probe"):
        method_of("numclip")
    with pytest.raises(TypeError, match="colour"):
        method_of("l1", {"colour": "red"})


def test_the_two_by_two_differs_in_the_form_and_in_the_regressor_only():
    def fields(cell) -> dict:
        chosen = dataclasses.asdict(method_of(methods.TWO_BY_TWO[cell]))
        return {key: value for key, value in chosen.items() if key not in ("name", "label")}

    cells = {cell: fields(cell) for cell in methods.TWO_BY_TWO}
    assert set(cells) == set(
        itertools.product(("CE", "FCRC"), ("without regressor", "with regressor"))
    )
    for regressor in ("without regressor", "with regressor"):
        assert cells["CE", regressor] | {"form": "exp"} == cells["FCRC", regressor]
    for form in ("CE", "FCRC"):
        plain, more = cells[form, "without regressor"], cells[form, "with regressor"]
        added = {"losses": (*plain["losses"], "l1"), "head": "bounded"}
        assert plain | added == more


@pytest.mark.parametrize("method", [method.name for method in METHODS])
def test_every_method_trains_and_predicts(config, home, tmp_path, method):
    weights = None
    if method_of(method).losses:
        train(config, home, tmp_path, method=method, steps=2, evaluations=1)
        weights = str(tmp_path / "selected.safetensors")
    rows = predicted(config, home, tmp_path, method, weights=weights)
    fold = pd.read_parquet(home / "fold.parquet")
    test = fold[fold["part"] == "test"].reset_index(drop=True)
    assert rows[["index", "label", "group"]].equals(
        test[["index", "label", "group"]].astype({"index": "int32"})
    )
    assert rows["bin"].tolist() == [0 if x < 13 else 1 if x < 19 else 2 for x in test["label"]]
    assert np.isfinite(rows["expectation"]).all()
    if method != "linear_probe":
        np.testing.assert_allclose([sum(p) for p in rows["probabilities"]], 1, atol=1e-5)
        assert rows["predicted_bin"].tolist() == BINS.of(rows["argmax"]).tolist()


def test_the_linear_probe_reads_a_batch_of_the_images_at_a_time(
    config, home, tmp_path, monkeypatch
):
    class Watched:
        """Images that count the rows of each read."""

        def __init__(self, images: np.ndarray) -> None:
            self.images, self.sizes = images, []

        def __getitem__(self, rows: np.ndarray) -> np.ndarray:
            self.sizes.append(len(rows))
            return self.images[rows]

    whole = predicted(config, home, tmp_path, "linear_probe")["expectation"]
    fold, images = read_fold(str(home / "fold.parquet"), str(home / "images.npy"))
    watched = Watched(images)
    monkeypatch.setattr(evaluate, "read_fold", lambda *_: (fold, watched))
    found = predicted(config, home, tmp_path, "linear_probe", batch=5)["expectation"]
    assert sorted(watched.sizes) == sorted([5] * 7 + [2] + 2 * [5, 5, 2])  # of 37, 12 and 12
    np.testing.assert_allclose(found, whole, rtol=1e-4)


def test_weights_are_asked_for_and_refused(config, home, tmp_path):
    with pytest.raises(ValueError, match="method l1 is trained first"):
        predicted(config, home, tmp_path, "l1")
    with pytest.raises(ValueError, match="constant is not trained, so it takes no weights"):
        predicted(config, home, tmp_path, "constant", weights="x.safetensors")


def test_the_constant_row_is_the_median_and_the_mode(config, home, tmp_path):
    fold = pd.read_parquet(home / "fold.parquet")
    labels = sorted(fold["label"][fold["part"] == "train"])
    rows = predicted(config, home, tmp_path, "constant")
    assert set(rows["expectation"]) == {labels[18]}  # of 37
    sizes = [sum(lo <= x <= hi for x in labels) for lo, hi in ((0, 12), (13, 18), (19, 29))]
    assert rows["probabilities"][0].tolist() == [size / 37 for size in sizes]
    assert set(rows["predicted_bin"]) == {sizes.index(max(sizes))}


# ---- whole trainings ----


def test_history_has_losses_rates_and_both_errors(undisturbed):
    history = pd.read_csv(undisturbed / "history.csv")
    assert history["step"].tolist() == [0, 2, 4, 6, 8, 10, 12]
    rates = history["learning_rate"].tolist()[1:]
    assert rates == pytest.approx([1e-3] * 3 + [1e-4] * 3)
    parts = ["loss_image_to_text", "loss_text_to_image", "loss_l1"]
    np.testing.assert_allclose(history[parts].sum(axis=1)[1:], history["loss"][1:], rtol=1e-5)
    assert {"validation_mae", "test_mae"} <= set(history)


def test_last_weights_in_the_state_go_with_it(config, home, tmp_path):
    end = {"end": str(tmp_path / "state/end.safetensors")}  # as the rule has it
    train(config, home, tmp_path, method="coarse_ce", steps=2, evaluations=1, outputs=end)
    found = {file.name for file in tmp_path.iterdir()}
    assert found == {"selected.safetensors", "best.safetensors", "history.csv", "model.json"}


def test_selected_has_the_lowest_error_on_validation_and_best_on_test(config, home, undisturbed):
    history = pd.read_csv(undisturbed / "history.csv", float_precision="round_trip")[1:]
    steps = json.loads((undisturbed / "model.json").read_text())["steps"]
    fold, images = read_fold(str(home / "fold.parquet"), str(home / "images.npy"))
    for part, name in (("validation", "selected"), ("test", "best")):
        lowest = history[f"{part}_mae"].min()
        assert steps[f"{part}_mae"] == history["step"][history[f"{part}_mae"].idxmin()]
        ordinal = make_model(Clip(**model_of(config, home)), method_of("numclip_released"), TASK)
        before = mean_absolute_error(ordinal, images, fold[fold["part"] == part])
        ordinal.load(undisturbed / f"{name}.safetensors")
        after = mean_absolute_error(ordinal, images, fold[fold["part"] == part])
        assert after == lowest != before
    assert steps["end"] == 12
    assert steps["validation_mae"] != steps["test_mae"]


def test_published_weights_are_what_was_trained_and_the_text_tower_is_not(home, undisturbed):
    start = load_file(home / "start.safetensors")
    weights = load_file(undisturbed / "end.safetensors")
    assert {name.split(".")[0] for name in weights} == {"visual", "adapter", "head", "prompts"}
    assert set(weights) >= {"prompts.words", "head.layers.0.weight", "adapter.layers.2.weight"}
    visual = {name for name in start if name.startswith("visual.")}
    assert visual == {name for name in weights if name.startswith("visual.")}
    moved = [name for name in visual if not torch.equal(weights[name], start[name])]
    assert len(moved) > len(visual) / 2


def test_weights_of_another_method_are_refused(config, home, undisturbed, tmp_path):
    weights = str(undisturbed / "end.safetensors")
    with pytest.raises(ValueError, match=r"end.safetensors: not the weights of this method"):
        predicted(config, home, tmp_path, "coarse_ce", weights=weights)


def killed(config: Path, home: Path, folder: Path) -> None:
    """Train three more steps, and be killed in the third before it is saved."""
    torch.set_num_threads(1)
    steps = itertools.count(1)

    def after_step(self):
        if next(steps) == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    Ordinal.after_step = after_step
    train(config, home, folder, checkpoint_minutes=0, **EVERYTHING)


def test_killed_with_head_adapter_and_words_it_ends_with_the_same_bytes(
    config, home, tmp_path, undisturbed
):
    with Forks(killed) as forks:
        for kill in range(2):
            assert forks(config, home, tmp_path) == -signal.SIGKILL, kill
            stored = torch.load(tmp_path / "state/state.pt", weights_only=True)
            assert stored["run"]["step"] == 2 * (kill + 1)
            assert set(stored["objective"]) >= {
                "ordinal.adapter.layers.0.weight",
                "ordinal.head.layers.2.bias",
                "ordinal.prompts.words",
            }
    train(config, home, tmp_path, **EVERYTHING)
    names = [path.name for path in undisturbed.iterdir()]
    assert len(names) == 5
    for name in names:
        assert (tmp_path / name).read_bytes() == (undisturbed / name).read_bytes(), name


def test_rank_prompts_resume_with_their_words_and_context(config, home, tmp_path):
    for folder in ("whole", "cut"):
        (tmp_path / folder).mkdir()
    settings = {"method": "rank_prompts", "steps": 4, "evaluations": 2, "word_rate": 2e-3}
    train(config, home, tmp_path / "whole", **settings)
    backward = Ordinal.backward

    def cut(self, batch, seed):
        if seed == 2:
            raise KeyboardInterrupt
        return backward(self, batch, seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ordinal, "backward", cut)
        with pytest.raises(KeyboardInterrupt):
            train(config, home, tmp_path / "cut", **settings)
    train(config, home, tmp_path / "cut", **settings)
    whole, resumed = (load_file(tmp_path / f / "end.safetensors") for f in ("whole", "cut"))
    assert {"prompts.words", "prompts.context"} <= set(whole)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_fold_that_lacks_a_part_or_an_image_is_named(home, tmp_path):
    fold = pd.read_parquet(home / "fold.parquet")
    images, path = str(home / "images.npy"), str(tmp_path / "fold.parquet")
    fold[fold["part"] != "validation"].to_parquet(path)
    with pytest.raises(ValueError, match="no row has the part 'validation'"):
        read_fold(path, images)
    fold.assign(index=fold["index"] + 1).to_parquet(path)
    with pytest.raises(ValueError, match="image 61 is not in .*images.npy, which has 61"):
        read_fold(path, images)
