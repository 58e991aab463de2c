"""Batches, models and the loop, on a random CLIP of the miniature's size."""

import copy
import itertools
import json
from pathlib import Path

import numpy as np
import open_clip
import pandas as pd
import pytest
import torch
from safetensors import safe_open

from countclip import models
from countclip.batches import Batches, Pairs, tokens_of
from countclip.captions import WORDS
from countclip.evaluation import Questions, predictions, similarities
from countclip.miniature.clip import ARCHITECTURE
from countclip.models import Clip
from countclip.training import fit, make_optimizer, rate_multiplier

SETTINGS = {
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "betas": (0.9, 0.98),
    "epsilon": 1e-6,
    "weight_decay": 0.1,
    "schedule": "warmup_cosine",
    "count_logit_scale": 10.0,
    "train_logit_scale": True,
    "precision": "32-true",
    "accelerator": "cpu",
    "seed": 3,
}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny-test.json"
    n = models.cut_merges([*WORDS.values(), "dogs", "cats"], path.with_suffix(".merges.txt.gz"))
    text = ARCHITECTURE["text_cfg"] | {"vocab_size": 514 + n}
    path.write_text(json.dumps(ARCHITECTURE | {"text_cfg": text}), encoding="utf-8")
    return path


@pytest.fixture
def clip(config):
    torch.manual_seed(0)
    return Clip("tiny-test", None, str(config))


@pytest.fixture
def batches(clip):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 64, 64, 3), dtype=np.uint8)
    numbers = [2 + i % 9 for i in range(20)]
    texts = [f"{WORDS[number]} dogs" for number in numbers]
    return Batches(
        Pairs.counting(clip, images[:20], texts, numbers),
        Pairs.plain(clip, images[20:], ["cats"] * 10),
        size=6,
        n_counting=4,
        counterfactuals=8,
        lambdas={number: float(number) for number in WORDS},
        seed=1,
    )


def test_tokens_are_clips_own_for_the_words_that_were_asked_for(clip):
    full = open_clip.get_tokenizer("ViT-B-32")
    for word in [*WORDS.values(), "dogs", "cats"]:
        ours = [clip.tokenizer.decoder[token] for token in clip.tokenizer.encode(word)]
        assert ours == [full.decoder[token] for token in full.encode(word)]
    assert all(len(clip.tokenizer.encode(word)) == 1 for word in WORDS.values())


def test_cutting_the_padding_changes_no_embedding(clip):
    texts = ["two dogs", "a much longer caption about seven cats and dogs"]
    short = torch.from_numpy(clip.tokenize(texts).astype(np.int64))
    full = clip.tokenizer(texts)
    assert short.shape[1] < full.shape[1]
    model = clip.model.double()
    expected = model.encode_text(full, normalize=True)
    torch.testing.assert_close(models.encode_text(model, short), expected, atol=1e-12, rtol=0)


def test_saved_weights_load_with_plain_open_clip(clip, config, tmp_path):
    path = tmp_path / "w.safetensors"
    models.save(clip.model, path, {"step": 1})
    again = open_clip.create_model("tiny-test", pretrained=str(path))
    image = torch.rand(2, 3, 64, 64)
    assert torch.equal(again.encode_image(image), clip.model.encode_image(image))


def test_openai_weights_under_a_plain_name_are_refused():
    with pytest.raises(ValueError, match="ViT-B-32-quickgelu"):
        Clip("ViT-B-32", "openai")


def test_a_batch_has_the_counting_pairs_first_and_their_counterfactuals_last(clip, batches):
    batch = batches.batch(0)
    assert batch.images.shape == (6, 64, 64, 3)
    assert batch.tokens.shape[0] == 6 + 4 * 8
    decoder = clip.tokenizer.decoder
    texts = ["".join(decoder[int(t)] for t in row if t) for row in batch.tokens]
    assert all("cats" in text for text in texts[4:6])
    for i, true in enumerate(texts[:4]):
        others = texts[6 + 8 * i : 14 + 8 * i]
        assert len({true, *others}) == 9
        assert all("dogs" in text for text in others)
        number = next(n for n, word in WORDS.items() if word in true)
        assert batch.weights[i] == number


def test_batches_depend_on_seed_and_step_alone_and_every_epoch_sees_every_pair(batches):
    assert batches.steps_per_epoch == 5
    from_the_start = [batches.batch(step) for step in range(8)][7]
    straight, other = copy.copy(batches), copy.copy(batches)
    straight._orders, other._orders, other.seed = {}, {}, 2
    for name in ("images", "tokens", "weights"):
        assert torch.equal(getattr(straight.batch(7), name), getattr(from_the_start, name))
    assert not torch.equal(other.batch(7).images, from_the_start.images)
    for epoch in range(3):
        seen = torch.cat([batches.batch(5 * epoch + i).images[:4] for i in range(5)])
        assert len(torch.unique(seen.flatten(1), dim=0)) == 20
    assert not torch.equal(batches.batch(0).images, batches.batch(5).images)


def test_counterfactuals_are_drawn_anew(batches):
    batches.k = 1
    drawn = [tuple(batches.batch(5 * epoch).tokens[6:].flatten().tolist()) for epoch in range(8)]
    assert len(set(drawn)) > 4


def test_too_small_a_set_is_named(clip, batches):
    with pytest.raises(ValueError, match="needs 11 non-counting pairs; the training set has 10"):
        Batches(
            batches.counting, batches.others, size=12, n_counting=1,
            counterfactuals=1, lambdas={}, seed=0,
        )  # fmt: skip


def test_schedules():
    assert [rate_multiplier("none", step, 10) for step in (0, 9)] == [1, 1]
    warm = [rate_multiplier("warmup_cosine", step, 8) for step in range(8)]
    expected = [0.25, 0.5, 0.75, 1.0, 1.0, 0.853553, 0.5, 0.146447]
    assert warm == pytest.approx(expected, abs=1e-6)
    # what the authors' code did, as printed by a run of its scheduler (three decimals)
    ran = [0.333, 0.467, 0.6, 0.733, 0.867, 0.905, 0.655, 0.345, 0.095]
    ran += [1, 0.905, 0.655, 0.345, 0.095] * 2
    steps = [rate_multiplier("as_run", step, 99) for step in range(19)]
    assert steps == pytest.approx(ran, abs=6e-4)


def test_adamw_decays_matrices_alone_and_adam_everything(clip):
    arguments = (1e-3, (0.9, 0.98), 1e-6, 0.2)
    decay, plain = make_optimizer(clip.model, "adamw", *arguments).param_groups
    assert (decay["weight_decay"], plain["weight_decay"]) == (0.2, 0.0)
    assert any(p is clip.model.logit_scale for p in plain["params"])
    (everything,) = make_optimizer(clip.model, "adam", *arguments).param_groups
    assert everything["weight_decay"] == 0.2
    assert len(everything["params"]) == len(decay["params"]) + len(plain["params"])


class Killed(Exception):
    pass


def of_the_weights(model, call):
    """A metric that goes up and down, and that a resumed run must find again."""
    return model.visual.conv1.weight.double().sum().item() * 1e6 % 1


def run(config, batches, folder, kill_after=None, metric=of_the_weights):
    torch.manual_seed(0)
    clip = Clip("tiny-test", None, str(config))
    calls = itertools.count()

    def evaluate(clip):
        call = next(calls)
        if call == kill_after:
            raise Killed
        return {"metric": metric(clip.model, call)}

    outputs = {name: folder / f"{name}.safetensors" for name in ("end", "metric")}
    outputs = {name: str(path) for name, path in outputs.items()}
    outputs["history"] = str(folder / "history.csv")
    fit(
        clip, batches, evaluate, outputs, str(folder / "state"), {"name": "tiny-test"},
        steps=12, evaluations=4, **SETTINGS,
    )  # fmt: skip
    return {name: Path(path).read_bytes() for name, path in outputs.items()}


@pytest.mark.parametrize("evaluations", [1, 2, 4])
def test_a_killed_run_goes_on_to_the_same_bytes(config, batches, tmp_path, evaluations):
    undisturbed = run(config, batches, tmp_path / "whole")
    with pytest.raises(Killed):
        run(config, batches, tmp_path / "killed", kill_after=evaluations)
    assert (tmp_path / "killed/state/state.pt").exists() == (evaluations > 1)
    assert run(config, batches, tmp_path / "killed") == undisturbed
    assert not (tmp_path / "killed/state").exists()


def test_the_history_has_a_row_an_evaluation(config, batches, tmp_path):
    run(config, batches, tmp_path)
    history = pd.read_csv(tmp_path / "history.csv")
    assert history["step"].tolist() == [0, 3, 6, 9, 12]
    assert history["loss"].iloc[-1] < history["loss"].iloc[1]


def test_the_best_checkpoint_is_the_earliest_of_equals(config, batches, tmp_path):
    # 1, 0, 1, 0, 1 at steps 0, 3, 6, 9, 12; the untouched model is no candidate
    run(config, batches, tmp_path, metric=lambda model, call: float((call + 1) % 2))
    with safe_open(tmp_path / "metric.safetensors", "pt") as file:
        assert json.loads(file.metadata()["about"])["step"] == 6


def test_similarities_are_those_of_one_image_and_one_caption_at_a_time(clip):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    texts = [f"{word} dogs" for word in WORDS.values()]
    tokens = np.stack([clip.tokenize(texts)] * 5)
    fast = similarities(clip, images, tokens, batch=2)
    for i, image in enumerate(images):
        pixels = clip.normalise(torch.from_numpy(image[None]))
        for j, text in enumerate(texts):
            one = clip.model.encode_image(pixels, normalize=True)
            other = clip.model.encode_text(clip.tokenizer([text]), normalize=True)
            assert fast[i, j] == pytest.approx((one @ other.T).item(), abs=1e-5)


def test_ties_are_told():
    similarity = np.zeros((2, 9), np.float32)
    similarity[1, 4] = 1
    table = predictions(similarity, np.array([7, 8]), np.array([2, 6]))
    assert table["tie"].tolist() == [True, False]
    assert table["prediction"].tolist() == [2, 6]


def test_captions_that_no_number_changes_are_refused(clip):
    with pytest.raises(ValueError, match="nobody can tell them apart"):
        tokens_of(clip, [["two dogs", "two dogs"]])


def test_questions_need_the_number_in_the_caption(clip):
    from PIL import Image

    row = {"index": 0, "image": Image.new("RGB", (64, 64)), "caption": "dogs", "number": 3}
    with pytest.raises(ValueError, match="does not name 3"):
        Questions.of(clip, [row])
