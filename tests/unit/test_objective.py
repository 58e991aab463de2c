"""Gradients of a whole step, against a reference that is slow and plain."""

import dataclasses
import itertools
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file

import tiny_training
from countclip.data import lambda_schemes
from countclip.data.lambda_schemes import SCHEMES
from countclip.data.number_words import WORDS
from countclip.model.clip import Clip, encode_text
from countclip.runtime.resources import HOME
from countclip.training.contrastive import Contrastive
from countclip.training.counting import COUNTERFACTUALS
from countclip.training.losses import ClipLoss, CountClipLoss
from workflow.conftest import warm_python

COUNTS = {number: 60 - 6 * number for number in WORDS} | {2: 100}  # log: not all of one side
LN_100 = float(np.log(100))


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return tiny_training.make_config(tmp_path_factory.mktemp("model"))


def make(
    config, loss, scheme, dtype=torch.float64, precision="32-true",
    count_logit_scale=None, micro_batch=None,
):  # fmt: skip
    """An objective of the tiny model and a batch for it."""
    clip = tiny_training.make_clip(config)
    clip.model.to(dtype)
    clip.normalise = lambda images: Clip.normalise(clip, images).to(dtype)
    lambdas = lambda_schemes.lambdas(COUNTS, scheme, lambda_0=0.7)
    k = COUNTERFACTUALS[loss]
    batch = tiny_training.make_batches(clip, counterfactuals=k, lambdas=lambdas).batch(0)
    batch.lambdas = batch.lambdas.to(dtype)
    criterion = CountClipLoss(count_logit_scale, rows=micro_batch)
    objective = Contrastive(clip, criterion, micro_batch=micro_batch)
    objective.setup(Fabric(accelerator="cpu", devices=1, precision=precision))
    return objective, batch


def gradients(objective):
    return {
        name: parameter.grad
        for name, parameter in objective.clip.model.named_parameters()
        if parameter.grad is not None
    }


def reference(config, loss, scheme, count_logit_scale, logit_scale, trained):
    """Loss and gradients in float64: every image and caption alone, captions of 77 tokens with
    their padding, the sums of Eqs. 1, 2 and 7 as loops."""
    objective, batch = make(config, loss, scheme)
    clip = objective.clip
    clip.model.logit_scale.data.fill_(logit_scale)
    clip.model.logit_scale.requires_grad_(trained)
    images = [
        clip.model.encode_image(clip.normalise(one[None]), normalize=True)[0]
        for one in batch.images[:]
    ]
    texts = []
    for row in batch.tokens:
        full = torch.zeros(1, 77, dtype=torch.long)
        full[0, : len(row)] = row
        texts.append(clip.model.encode_text(full, normalize=True)[0])
    size, n, k = len(images), len(batch.lambdas), COUNTERFACTUALS[loss]
    scale = clip.model.logit_scale.exp()
    total = 0
    for i in range(size):
        rows = sum((scale * (images[i] @ texts[j])).exp() for j in range(size))
        columns = sum((scale * (images[j] @ texts[i])).exp() for j in range(size))
        both = 2 * scale * (images[i] @ texts[i]) - rows.log() - columns.log()
        total = total - both / 2 / size
    own = count_logit_scale or 1.0
    for i in range(n if k else 0):
        number = next(m for m in WORDS if WORDS[m] in decoded(clip, batch.tokens[i]))
        weight = float(np.float32(lambda_schemes.lambdas(COUNTS, scheme, lambda_0=0.7)[number]))
        right = (own * (images[i] @ texts[i])).exp()
        wrong = sum(
            (own * (images[i] @ texts[size + i * k + j])).exp() for j in range(k)
        )  # fmt: skip
        total = total - weight * (right / (right + wrong)).log() / n
    total.backward()
    return total.item(), gradients(objective)


def decoded(clip, row):
    return "".join(clip.tokenizer.decoder[int(token)] for token in row if token)


def distance(ours, expected):
    """Relative error of all gradients together."""
    assert set(ours) == set(expected)
    difference = sum(((ours[name].double() - expected[name]) ** 2).sum() for name in expected)
    return (difference / sum((value**2).sum() for value in expected.values())).sqrt().item()


@pytest.mark.parametrize(
    ("loss", "scheme"),
    [("none", "constant"), *itertools.product(["count", "count_plus"], SCHEMES)],
)
@pytest.mark.parametrize(
    ("count_logit_scale", "logit_scale", "trained"),
    [(None, 2.65, True), (20.0, LN_100, True), (None, LN_100, False)],
    ids=["paper", "scaled, at the clamp", "frozen"],
)
def test_gradients_are_those_of_a_slow_reference(
    config, loss, scheme, count_logit_scale, logit_scale, trained
):
    value, expected = reference(config, loss, scheme, count_logit_scale, logit_scale, trained)
    for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 1e-5)):
        objective, batch = make(
            config, loss, scheme, dtype, count_logit_scale=count_logit_scale
        )  # fmt: skip
        objective.clip.model.logit_scale.data.fill_(logit_scale)
        objective.clip.model.logit_scale.requires_grad_(trained)
        losses = objective.backward(batch, seed=0)
        assert losses["loss"].item() == pytest.approx(value, rel=tolerance)
        assert ("logit_scale" in expected) == trained
        assert distance(gradients(objective), expected) < tolerance


def test_bfloat16_rounds_the_towers_and_not_the_losses(config):
    value, expected = reference(config, "count_plus", "modal", 20.0, 2.65, True)
    objective, batch = make(
        config, "count_plus", "modal", torch.float32, "bf16-mixed", count_logit_scale=20.0
    )
    objective.clip.model.logit_scale.data.fill_(2.65)
    losses = objective.backward(batch, seed=0)
    assert losses["loss"].dtype == torch.float32
    assert losses["loss"].item() == pytest.approx(value, rel=1e-2)
    found = gradients(objective)
    assert all(gradient.dtype == torch.float32 for gradient in found.values())
    assert 1e-6 < distance(found, expected) < 5e-2


@pytest.mark.parametrize("micro_batch", [None, 3])
def test_the_token_gradient_forgets_the_rows_of_the_last_batch(config, micro_batch):
    objective, first = make(config, "count", "constant", micro_batch=micro_batch)
    table = objective.clip.model.token_embedding
    second = dataclasses.replace(first, tokens=first.tokens.clamp(min=table.num_embeddings - 40))
    objective.backward(first, seed=0)
    objective.clip.model.zero_grad()
    objective.backward(second, seed=1)
    found = table.weight.grad.clone()
    assert set(found.any(dim=1).nonzero().flatten().tolist()) == set(
        second.tokens.unique().tolist()
    )
    table.sparse, objective.token_gradient = False, None
    objective.clip.model.zero_grad()
    objective.backward(second, seed=1)
    if micro_batch is None:
        assert torch.equal(found, table.weight.grad)
    torch.testing.assert_close(found, table.weight.grad, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("micro_batch", [1, 4, 5, 64])
def test_gradient_caching_gives_the_gradients_of_the_whole_batch(config, micro_batch):
    whole, batch = make(config, "count_plus", "log")
    expected = whole.backward(batch, seed=0)
    split, batch = make(config, "count_plus", "log", micro_batch=micro_batch)
    losses = split.backward(batch, seed=0)
    assert losses["loss"].item() == pytest.approx(expected["loss"].item(), rel=1e-12)
    assert distance(gradients(split), gradients(whole)) < 1e-12


def test_what_is_computed_twice_draws_the_same_twice(config):
    """Dropout in a tower: the second forward pass must be the first again."""

    def found(micro_batch):
        objective, batch = make(config, "count", "log", micro_batch=micro_batch)
        drop = torch.nn.Dropout(0.3)
        objective.clip.model.train()
        objective.clip.model.visual.ln_post.register_forward_hook(lambda *a: drop(a[2]))
        objective.backward(batch, seed=5)
        return gradients(objective)

    assert distance(found(64), found(None)) < 1e-12


def test_the_loss_by_rows_is_the_loss():
    generator = torch.Generator().manual_seed(0)
    image, text = torch.randn(2, 7, 5, dtype=torch.float64, generator=generator)
    scale = torch.tensor(3.0, dtype=torch.float64)
    assert ClipLoss(3)(image, text, scale).item() == pytest.approx(
        ClipLoss()(image, text, scale).item(), rel=1e-14
    )


SLURM = {"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
"""A job of one task: what it starts are its own processes, one a device."""


def in_processes(what, config, folder, **settings):
    """Call a function of `tiny_training` in `devices` processes; returns what they said."""
    code, said = processes_end(what, config, folder, **settings)
    assert code == 0, said[-4000:]
    ranks = set(re.findall(r"MEMBER: (\d)/(\d)", said))
    assert ranks == {
        (str(rank + 1), str(settings["devices"])) for rank in range(settings["devices"])
    }
    return said


def processes_end(what, config, folder, **settings):
    """The same, however it ends: the exit code of the first, and what all said."""
    python = warm_python()
    command = [python, tiny_training.__file__, what, str(config), str(folder)]
    paths = f"{HOME / 'workflow/scripts'}:{Path(tiny_training.__file__).parent}"
    done = subprocess.run(
        [*command, json.dumps(settings)], capture_output=True, text=True, check=False, cwd=folder,
        env={"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin", "PYTHON": python,
             **SLURM},
    )  # fmt: skip
    return done.returncode, done.stderr


def test_two_processes_train_as_one_does(config, tmp_path):
    """Plain gradient descent in effect (Adam's epsilon is far above any gradient), so that a wrong
    factor on a gradient could not hide in Adam's normalisation. Five pairs in micro-batches of two:
    uneven shares and uneven pieces. One process has the batch as a whole."""
    settings = {"epsilon": 1e3, "learning_rate": 1e3, "optimizer": "adam", "weight_decay": 0.0}
    settings |= {"batches": {"size": 5}}
    torch.set_num_threads(1)
    tiny_training.train(config, tmp_path / "one", **settings)
    one = load_file(tmp_path / "one/end.safetensors")
    (tmp_path / "two").mkdir()
    in_processes("train", config, tmp_path / "two", devices=2, micro_batch=2, **settings)
    two = load_file(tmp_path / "two/end.safetensors")
    history = pd.read_csv(tmp_path / "two/history.csv")
    start = tiny_training.make_clip(config).model.state_dict()
    moved = sum(((one[name] - start[name]) ** 2).sum() for name in start).sqrt()
    apart = sum(((one[name] - two[name]) ** 2).sum() for name in start).sqrt()
    assert moved > 0.1
    assert apart < 1e-4 * moved
    alone = pd.read_csv(tmp_path / "one/history.csv")
    np.testing.assert_allclose(history["loss"][1:], alone["loss"][1:], rtol=1e-5)


def test_of_two_processes_one_writes_and_one_logs(config, tmp_path):
    """Both at once would take each other's half written file away."""
    tiny_training.make_variant(config, tmp_path)
    said = in_processes("train_variant", config, tmp_path, devices=2, loggers=["tensorboard"])
    published = re.findall(r"published (\S+)", said)
    assert sorted(published) == sorted(
        ["state.pt", "benchmark_accuracy.safetensors", "heldout_accuracy.safetensors"]
        + ["end.safetensors", "best.safetensors", "selected.safetensors"]
        + ["history.csv", "lambdas.csv", "model.json"]
        + ["open_clip_config.json", "open_clip_model.safetensors"]
    )
    assert len(list((tmp_path / "logs").rglob("events*"))) == 1


def test_two_processes_stop_at_the_same_step(config, tmp_path):
    """Whichever is asked to: here the second, within the third step."""
    tiny_training.make_variant(config, tmp_path)
    code, said = processes_end("stop", config, tmp_path, devices=2)
    assert code == 143, said
    assert "Error" not in said
    state = torch.load(tmp_path / "state/state.pt", weights_only=True)
    assert state["run"]["step"] == 3


@pytest.mark.parametrize(("tower", "passes"), [("both", [4, 4]), ("image", [4, 2])])
def test_a_frozen_tower_is_not_computed_again(config, tower, passes):
    clip = tiny_training.make_clip(config)
    batch = tiny_training.make_batches(clip, counterfactuals=1).batch(0)  # 6 pictures, 10 captions
    objective = Contrastive(
        clip, CountClipLoss(), tower=tower, train_logit_scale=False, micro_batch=5
    )
    objective.setup(Fabric(accelerator="cpu", devices=1, precision="32-true"))
    seen = {"visual": 0, "transformer": 0}
    for name in seen:

        def count(*_, name=name):
            seen[name] += 1

        getattr(clip.model, name).register_forward_hook(count)
    objective.backward(batch, seed=0)
    assert list(seen.values()) == passes
    assert (clip.model.token_embedding.weight.grad is None) == (tower == "image")


def test_batch_statistics_do_not_go_into_pieces(tmp_path):
    """A ResNet trains on whole batches alone."""
    architecture = tiny_training.ARCHITECTURE | {
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
    }
    config = tmp_path / "tiny-resnet.json"
    config.write_text(json.dumps(architecture), encoding="utf-8")
    clip = Clip("tiny-resnet", None, str(config))
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    Contrastive(clip, CountClipLoss()).setup(fabric)
    with pytest.raises(ValueError, match="micro_batch.*use a vision transformer"):
        Contrastive(clip, CountClipLoss(), micro_batch=2).setup(fabric)
    with pytest.raises(ValueError, match="lora_rank need transformers of open_clip"):
        Contrastive(clip, CountClipLoss(), lora_rank=2).setup(fabric)


def test_cut_tokens_embed_as_77(config):
    clip = tiny_training.make_clip(config)
    texts = ["two dogs", "a much longer caption about seven cats and dogs"]
    short = torch.from_numpy(clip.tokenize(texts).astype(np.int64))
    full = clip.tokenizer(texts)
    assert short.shape[1] < full.shape[1] == 77
    for model, tolerance in ((clip.model, 1e-5), (clip.model.double(), 1e-12)):
        expected = model.encode_text(full, normalize=True)
        ours = encode_text(model, short)
        torch.testing.assert_close(ours, expected, atol=tolerance, rtol=0)
