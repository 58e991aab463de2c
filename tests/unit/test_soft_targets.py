"""Soft targets: worked by hand, against a dense reference, by pieces and by processes."""

from math import e, exp, log

import numpy as np
import pandas as pd
import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file
from test_objective import in_processes

import tiny_training
from countclip.data.number_words import WORDS
from countclip.model.clip import Clip
from countclip.training.contrastive import Contrastive
from countclip.training.losses import ClipLoss
from countclip.training.soft_targets import (
    ObjectSets,
    SoftBatch,
    SoftClip,
    SoftClipLoss,
    Target,
    Targets,
    TargetSettings,
    targets_of,
)

CAPTIONS = [
    ({"dog", "ball"}, 2),
    ({"dog"}, 3),
    ({"ball", "dog", "hat"}, 2),
    (set(), 0),
    ({"cat"}, 0),
    (set(), 4),
    ({"dog"}, 0),
    ({"cat", "hat"}, 9),
]


def sets(order=None) -> ObjectSets:
    chosen = CAPTIONS if order is None else [CAPTIONS[i] for i in order]
    return ObjectSets([objects for objects, _ in chosen], [number for _, number in chosen])


def dense(settings: TargetSettings, captions) -> torch.Tensor:
    """T in full, in float64, by the definitions."""
    n = len(captions)
    if settings.clip_target == "hard":
        return torch.eye(n, dtype=torch.float64)
    if settings.clip_target == "smooth":
        target = torch.full((n, n), settings.soft_alpha / (n - 1), dtype=torch.float64)
        return target.fill_diagonal_(1 - settings.soft_alpha)
    overlap = torch.eye(n, dtype=torch.float64)
    for i, (one, number) in enumerate(captions):
        for j, (other, another) in enumerate(captions):
            clash = settings.soft_mask == "numbers" and number and another and number != another
            if i != j and one & other and not clash:
                overlap[i, j] = (len(one & other) / len(one | other)) ** settings.soft_power
    alpha = settings.soft_alpha
    return (1 - alpha) * torch.eye(n, dtype=torch.float64) + alpha * overlap / overlap.sum(
        dim=1, keepdim=True
    )


def dense_loss(image, text, scale, target):
    logits = scale * image @ text.T
    rows = -(target * logits.log_softmax(dim=1)).sum(dim=1).mean()
    columns = -(target * logits.T.log_softmax(dim=1)).sum(dim=1).mean()
    return (rows + columns) / 2


def embeddings(n: int, d: int = 5, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    both = torch.randn(2, n, d, dtype=torch.float64, generator=generator)
    image, text = torch.nn.functional.normalize(both, dim=-1)
    scale = torch.tensor(7.0, dtype=torch.float64)
    return image.requires_grad_(), text.requires_grad_(), scale.requires_grad_()


SETTINGS = [
    TargetSettings("hard"),
    TargetSettings("smooth", 0.2),
    TargetSettings("smooth", 1.0),
    TargetSettings("objects", 0.5),
    TargetSettings("objects", 1.0, 2.0),
    TargetSettings("objects", 0.7, 1.0, "numbers"),
    TargetSettings("objects", 1.0, 0.5, "numbers"),
]


def test_the_overlaps_of_a_batch_by_hand():
    overlaps = sets().overlaps(np.array([0, 1, 2, 3, 5]), 1.0, "none").toarray()
    expected = [
        [1, 1 / 2, 2 / 3, 0, 0],
        [1 / 2, 1, 1 / 3, 0, 0],
        [2 / 3, 1 / 3, 1, 0, 0],
        [0, 0, 0, 1, 0],  # empty sets share nothing, even with each other
        [0, 0, 0, 0, 1],
    ]
    np.testing.assert_allclose(overlaps, expected, rtol=1e-7)
    masked = sets().overlaps(np.array([0, 1, 2, 6]), 2.0, "numbers").toarray()
    expected = [
        [1, 0, 4 / 9, 1 / 4],
        [0, 1, 0, 1],  # three dogs are not two, but may be "dogs"
        [4 / 9, 0, 1, 1 / 9],
        [1 / 4, 1, 1 / 9, 1],
    ]
    np.testing.assert_allclose(masked, expected, rtol=1e-6)


def test_a_soft_loss_by_hand():
    """Two pairs of which all four embeddings are on two axes, with equal objects: the target is one
    half everywhere, whatever the true pair is."""
    axes = torch.eye(2, dtype=torch.float64)
    both = ObjectSets([{"owl"}, {"owl"}], [0, 0])
    target = Targets(TargetSettings("objects", 1.0), both).of(np.arange(2))
    scale = torch.tensor(3.0, dtype=torch.float64)
    loss = SoftClipLoss()(axes, axes, scale, target)
    assert loss.item() == pytest.approx(log(e**3 + 1) - 3 / 2)
    assert (target.entropy, target.diagonal, target.partners) == pytest.approx((log(2), 0.5, 1))
    # rows with unequal sums: {owl} and {owl, elk} overlap by half, {yak} by nothing
    three = ObjectSets([{"owl"}, {"owl", "elk"}, {"yak"}], [0, 0, 0])
    target = Targets(TargetSettings("objects", 0.6), three).of(np.arange(3))
    first = [0.4 + 0.6 * 2 / 3, 0.6 / 3, 0]
    mixed = target.mix(torch.eye(3, dtype=torch.float64))
    np.testing.assert_allclose(mixed[0], first, rtol=1e-7)
    np.testing.assert_allclose(mixed[2], [0, 0, 1], rtol=1e-7)
    assert target.entropy == pytest.approx(2 / 3 * -sum(p * log(p) for p in first if p))
    assert target.diagonal == pytest.approx((0.8 + 0.8 + 1) / 3)
    assert target.partners == pytest.approx(2 / 3)
    smooth = Targets(TargetSettings("smooth", 0.3)).of(np.arange(4))
    np.testing.assert_allclose(
        smooth.mix(torch.eye(4)), [[0.7 if i == j else 0.1 for j in range(4)] for i in range(4)],
        rtol=1e-6,
    )  # fmt: skip


def test_one_target_serves_both_directions_and_is_not_transposed():
    """With unequal row sums T and its transpose differ; captions over images use T itself."""
    three = ObjectSets([{"owl"}, {"owl", "elk"}, {"owl", "elk", "yak"}], [0, 0, 0])
    target = Targets(TargetSettings("objects", 1.0), three).of(np.arange(3))
    full = target.mix(torch.eye(3, dtype=torch.float64))
    assert (full - full.T).abs().max() > 0.04
    image, text, scale = embeddings(3)
    right = dense_loss(image, text, scale, full)
    logits = scale * image @ text.T
    wrong = -(full * logits.log_softmax(1)).sum(1).mean()
    wrong = (wrong - (full.T * logits.T.log_softmax(1)).sum(1).mean()) / 2
    loss = SoftClipLoss()(image, text, scale, target)
    assert loss.item() == pytest.approx(right.item(), rel=1e-6)
    assert abs(loss.item() - wrong.item()) > 1e-3


@pytest.mark.parametrize("rows", [None, 3])
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda one: "-".join(map(str, one)))
def test_values_and_gradients_are_those_of_the_dense_target(settings, rows):
    order = np.array([5, 0, 2, 7, 1, 4, 3, 6])
    target = Targets(settings, sets(), dtype=np.float64).of(order)
    expected = dense(settings, [CAPTIONS[i] for i in order])
    ours, theirs = embeddings(8), embeddings(8)
    SoftClipLoss(rows)(*ours, target).backward()
    value = dense_loss(*theirs, expected)
    value.backward()
    assert SoftClipLoss(rows)(*ours, target).item() == pytest.approx(value.item(), rel=1e-12)
    for found, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found.grad, wanted.grad, rtol=1e-10, atol=1e-13)
    positive = expected[expected > 0]
    assert target.entropy == pytest.approx(-(positive * positive.log()).sum().item() / 8, abs=1e-6)
    assert target.diagonal == pytest.approx(expected.diagonal().mean().item(), abs=1e-6)
    others = ((expected > 0).sum() - (expected.diagonal() > 0).sum()).item() / 8
    assert target.partners == pytest.approx(others)


def test_the_loss_of_hard_targets_is_the_contrastive_loss():
    image, text, scale = embeddings(9)
    hard = SoftClipLoss(4)(image, text, scale, Targets(TargetSettings()).of(np.arange(9)))
    assert hard.item() == pytest.approx(ClipLoss()(image, text, scale).item(), rel=1e-13)
    low = SoftClipLoss()(image.bfloat16(), text.bfloat16(), scale.float(), Target(keep=1.0))
    assert low.dtype == torch.float32


def test_the_divergence_is_zero_where_the_model_is_the_target():
    """Embeddings whose softmax is T itself: the loss is then the entropy, the least there is."""
    overlap = ObjectSets([{"owl"}, {"owl"}, {"elk"}, {"elk"}], [0] * 4)
    target = Targets(TargetSettings("objects", 1.0), overlap).of(np.arange(4))
    axes = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]], dtype=torch.float64)
    batch = SoftBatch(None, None, None, None, target)
    losses = SoftClip()(axes, axes, batch, torch.tensor(40.0, dtype=torch.float64))
    assert losses["kl"].item() == pytest.approx(0, abs=1e-12)
    assert losses["loss"].item() == pytest.approx(log(2))
    assert losses["target_diagonal"].item() == pytest.approx(0.5)
    assert losses["target_partners"].item() == 1
    warm = SoftClip()(axes, axes, batch, torch.tensor(1.0, dtype=torch.float64))
    assert warm["kl"].item() == pytest.approx(log(1 + exp(-1)), rel=1e-9)


def test_shuffled_objects_are_as_soft_and_belong_to_others():
    n = 300
    rng = np.random.default_rng(0)
    captions = [set(rng.choice(40, rng.integers(0, 4), replace=False)) for _ in range(n)]
    objects = ObjectSets(captions, rng.integers(0, 5, n))
    settings = TargetSettings("objects", 0.5, 1.0, "numbers")
    real = Targets(settings, objects).of(np.arange(n))
    dealt = Targets(settings._replace(clip_target="objects_shuffled"), objects, seed=7)
    other = dealt.of(np.arange(n))
    for name in ("entropy", "diagonal", "partners"):
        assert getattr(other, name) == pytest.approx(getattr(real, name), rel=1e-6)
    again = Targets(settings._replace(clip_target="objects_shuffled"), objects, seed=7)
    assert (again.of(np.arange(n)).overlaps != other.overlaps).nnz == 0
    both = real.overlaps.multiply(other.overlaps).nnz - n
    assert both < 0.3 * (real.overlaps.nnz - n), "partners must be others"


def test_large_batches_are_computed_in_blocks_to_the_same_overlaps():
    rng = np.random.default_rng(1)
    captions = [set(rng.choice(500, rng.integers(0, 5), replace=False)) for _ in range(2500)]
    objects = ObjectSets(captions, np.zeros(2500, int))
    rows = rng.permutation(2500)
    whole = objects.overlaps(rows, 1.0, "none")
    assert abs(whole - whole.T).max() == 0
    for i, j in rng.integers(0, 2500, (200, 2)):
        one, other = captions[rows[i]], captions[rows[j]]
        iou = len(one & other) / len(one | other) if one | other else 0
        assert whole[i, j] == pytest.approx(1 if i == j else iou, rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (TargetSettings("soft"), "clip_target: 'soft' is none of hard, smooth, objects"),
        (TargetSettings("objects", 1.5), "soft_alpha: 1.5 is not between 0 and 1"),
        (TargetSettings("objects", 0.5, 0), "soft_power: 0 is not above 0"),
        (TargetSettings("objects", 0.5, 1, "digits"), "soft_mask: 'digits' is neither"),
        (TargetSettings("objects"), "needs the captions' objects"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Targets(settings)


def test_of_one_pair_or_no_mass_the_target_is_hard():
    for settings in SETTINGS[:4]:
        assert Targets(settings, sets()).of(np.array([2])) == Target(keep=1.0)
    assert Targets(TargetSettings("objects", 0.0), sets()).of(np.arange(8)) == Target(keep=1.0)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return tiny_training.make_config(tmp_path_factory.mktemp("model"))


def objective_of(config, micro_batch=None):
    clip = tiny_training.make_clip(config)
    clip.model.to(torch.float64)
    clip.normalise = lambda images: Clip.normalise(clip, images).to(torch.float64)
    objective = Contrastive(clip, SoftClip(micro_batch), micro_batch=micro_batch)
    objective.setup(Fabric(accelerator="cpu", devices=1))
    return objective


@pytest.mark.parametrize("micro_batch", [1, 3, 64])
def test_gradient_caching_gives_the_gradients_of_the_whole_batch(config, micro_batch):
    found = []
    for pieces in (None, micro_batch):
        objective = objective_of(config, pieces)
        batch = tiny_training.SoftBatches(objective.clip, dtype=np.float64).batch(0)
        assert batch.target.partners > 0.5
        losses = objective.backward(batch, seed=0)
        grads = [one.grad for one in objective.parameters() if one.grad is not None]
        found.append((losses["loss"], torch.cat([grad.flatten() for grad in grads])))
    (value, gradient), (piecewise, by_pieces) = found
    assert piecewise.item() == pytest.approx(value.item(), rel=1e-12)
    assert (by_pieces - gradient).norm() < 1e-11 * gradient.norm()


def test_two_processes_train_on_soft_targets_as_one_does(config, tmp_path):
    """As in test_objective.py: steps of plain gradient descent, uneven shares and pieces."""
    settings = {"epsilon": 1e3, "learning_rate": 1e3, "optimizer": "adam", "weight_decay": 0.0}
    torch.set_num_threads(1)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    tiny_training.train_soft(config, tmp_path / "one", **settings)
    in_processes("train_soft", config, tmp_path / "two", devices=2, micro_batch=2, **settings)
    start = tiny_training.make_clip(config).model.state_dict()
    one, two = (load_file(tmp_path / name / "end.safetensors") for name in ("one", "two"))
    moved = sum(((one[name] - start[name]) ** 2).sum() for name in start).sqrt()
    apart = sum(((one[name] - two[name]) ** 2).sum() for name in start).sqrt()
    assert moved > 0.1
    assert apart < 1e-4 * moved
    alone, shared = (pd.read_csv(tmp_path / name / "history.csv") for name in ("one", "two"))
    for column in ("loss", "kl", "target_diagonal", "target_partners", "logit_scale"):
        np.testing.assert_allclose(shared[column][1:], alone[column][1:], rtol=1e-5)
    assert (alone["kl"][1:] < alone["loss"][1:] - 0.1).all(), "the target's entropy is left out"


def test_the_targets_of_a_counting_batch_follow_its_pairs(config):
    """Counting pairs are "N dogs", the others cats: with the mask, pairs share a target exactly if
    they name the same number of the same kind."""
    clip = tiny_training.make_clip(config)
    numbers = [2 + i % 9 for i in range(20)] + [0] * 10
    captions = [f"{WORDS[n]} dogs" if n else "cats and more cats" for n in numbers]
    targets = targets_of(TargetSettings("objects", 1.0, 1.0, "numbers"), captions, numbers, seed=0)
    batches = tiny_training.make_batches(clip, size=20, n_counting=14, targets=targets)
    for step in range(3):
        batch = batches.batch(step)
        expected = batch.labels[:, None] == batch.labels[None]
        assert expected.sum() > 20
        np.testing.assert_array_equal(batch.target.overlaps.toarray(), expected)
    assert targets_of(TargetSettings(), captions, numbers, seed=0) is None


@pytest.mark.parametrize("loss", ["count_plus", "sord"])
def test_a_counting_variant_trains_on_soft_targets(config, tmp_path, loss):
    tiny_training.make_variant(config, tmp_path)
    tiny_training.train_variant(
        config, tmp_path, loss=loss, clip_target="objects", soft_alpha=0.5, soft_mask="numbers"
    )
    history = pd.read_csv(tmp_path / "history.csv").iloc[1:]
    # two of six are cats, with one partner each, and few of four dogs are as many as another
    assert history["target_partners"].between(1 / 3, 1).all()
    assert history["target_diagonal"].between(0.6, 1).all()
    assert (history["kl"] < history["loss_clip"] - 0.1).all()
    total = history["loss_clip"] + history["loss_count"]
    np.testing.assert_allclose(history["loss"], total, rtol=1e-6)


def test_a_variant_trains_on_the_objects_that_a_model_listed(config, tmp_path):
    """Listed as the parser finds them, they give the same weights; other captions are no part."""
    soft = {"clip_target": "objects", "soft_alpha": 0.5, "soft_mask": "numbers"}
    listed = [(f"{word} dogs", ["dog"]) for word in WORDS.values()] + [("cats", ["cat"])]
    ends = {}
    for name, rows in (("parser", None), ("llm", listed), ("fewer", listed[:-1])):
        folder = tmp_path / name
        folder.mkdir()
        tiny_training.make_variant(config, folder)
        path = folder / "objects.parquet"
        if rows:
            pd.DataFrame(rows, columns=["caption", "objects"]).to_parquet(path)
            soft |= {"soft_objects": "llm", "objects": [str(path)]}
        tiny_training.train_variant(config, folder, **soft)
        ends[name] = load_file(folder / "end.safetensors")
    for name, weights in ends["parser"].items():
        assert torch.equal(weights, ends["llm"][name])
    assert any(not torch.equal(ends["llm"][n], w) for n, w in ends["fewer"].items())
    pd.DataFrame(listed, columns=["caption", "objects"]).assign(caption="x").to_parquet(path)
    with pytest.raises(ValueError, match="no caption of the training has listed objects"):
        tiny_training.train_variant(config, folder, **soft | {"objects": [str(path)]})
