"""Batches of hard negatives: clusters, draws, false negatives, and the loss that treats them."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from countclip.experiments.reading import clusters, metric
from countclip.experiments.reading.clusters import Draws, FalseNegatives
from countclip.training.grad_cache import GradCache, Tower
from countclip.training.losses import ClipLoss
from countclip.training.masked import MaskedClipLoss

# ---- clusters ----


def blobs(seed, groups=12, of_each=40, dimension=16, noise=0.15):
    """Unit vectors round `groups` directions, shuffled, and the group of each."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(groups, dimension))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    group = rng.permutation(np.repeat(np.arange(groups), of_each))
    points = centres[group] + noise * rng.normal(size=(len(group), dimension))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points.astype(np.float32), group


def test_similar_pairs_share_a_cluster():
    points, group = blobs(0)
    labels, centroids = clusters.cluster(points, size=40, seed=1)
    assert len(centroids) == 12
    assert labels.dtype == np.int32
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1, rtol=1e-5)
    same_group = group[:, None] == group
    same_cluster = labels[:, None] == labels
    assert (same_cluster & same_group).sum() / same_group.sum() > 0.8
    np.testing.assert_array_equal(clusters.assign(points, centroids), labels)


PROGRAM = """
import hashlib, sys
import numpy as np
from countclip.experiments.reading import clusters
points = np.random.default_rng(5).normal(size=(2000, 96)).astype("f4")
points /= np.linalg.norm(points, axis=1, keepdims=True)
for seed in (0, 7):
    labels, centroids = clusters.cluster(points, size=64, seed=seed)
    print(hashlib.sha256(labels.tobytes() + centroids.tobytes()).hexdigest())
"""


def test_clusters_have_the_same_bytes_on_any_number_of_threads():
    printed = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True,
            env=os.environ | {"OMP_NUM_THREADS": threads, "PYTHONPATH": os.pathsep.join(sys.path)},
        ).stdout.split()
        for threads in ("1", "2")
    ]  # fmt: skip
    assert printed[0] == printed[1]
    assert printed[0][0] != printed[0][1]  # seeds differ


def test_features_weigh_image_and_question_alike():
    rng = np.random.default_rng(0)
    embeddings = {"image": 50 * rng.normal(size=(5, 8)), "question": rng.normal(size=(5, 4))}
    both = clusters.features(embeddings, "both")
    np.testing.assert_allclose(np.linalg.norm(both, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(both[:, :8], axis=1), 0.5**0.5, rtol=1e-6)
    assert clusters.features(embeddings, "question").shape == (5, 4)


def test_embeddings_that_are_not_finite_are_an_error():
    points, _ = blobs(0)
    points[[3, 9], 2] = np.nan
    with pytest.raises(ValueError, match="2 embeddings are not finite, the first of pair 3"):
        clusters.cluster(points, size=40, seed=0)


# ---- draws ----

LABELS = np.repeat(np.arange(10), [7, 30, 5, 20, 12, 1, 9, 11, 3, 5])  # 103 pairs


def a_pass(draws, number=0):
    steps = draws.steps_per_epoch
    return np.array([draws.rows(number * steps + step) for step in range(steps)])


@pytest.mark.parametrize("random_share", [0, 0.3, 0.5, 1])
def test_a_pass_sees_no_pair_twice_and_leaves_less_than_a_batch(random_share):
    draws = Draws(LABELS, size=8, random_share=random_share, seed=4)
    for number in range(3):
        rows = a_pass(draws, number)
        assert rows.shape == (12, 8)
        assert len(np.unique(rows)) == 96
    assert set(a_pass(draws, 0).ravel()) != set(a_pass(draws, 1).ravel())


def test_a_step_depends_on_seed_and_step_alone():
    steps = [17, 3, 40, 3, 0, 17]
    one = Draws(LABELS, size=8, random_share=0.5, seed=4)
    by_order = {step: one.rows(step) for step in range(41)}
    other = Draws(LABELS, size=8, random_share=0.5, seed=4)
    for step in steps:
        np.testing.assert_array_equal(other.rows(step), by_order[step])
    third = Draws(LABELS, size=8, random_share=0.5, seed=5)
    assert any((third.rows(step) != by_order[step]).any() for step in range(5))


def test_clusters_are_laid_end_to_end_and_cut():
    labels = LABELS[a_pass(Draws(LABELS, size=8, random_share=0, seed=2)).ravel()]
    changes = np.flatnonzero(np.diff(labels))
    assert len(changes) == len(set(labels)) - 1  # each cluster is one run
    orders = {tuple(dict.fromkeys(LABELS[a_pass(Draws(LABELS, size=8, random_share=0, seed=2), n)]
                                  .ravel().tolist())) for n in range(3)}  # fmt: skip
    assert len(orders) == 3


def test_the_random_share_comes_from_all_clusters():
    labels = np.repeat(np.arange(50), 20)
    draws = Draws(labels, size=20, random_share=0.5, seed=0)
    rows = a_pass(draws)
    of_clusters = [len(set(labels[row[:10]])) for row in rows]
    of_all = [len(set(labels[row[10:]])) for row in rows]
    assert np.mean(of_clusters) < 3
    assert np.mean(of_all) > 8  # ten of fifty: 9.1 on average


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 200, "random_share": 0}, "a batch of 200 pairs from 103"),
        ({"size": 1, "random_share": 0}, "at least 2"),
        ({"size": 8, "random_share": 1.5}, "random_share is 1.5"),
    ],
)
def test_impossible_batches_are_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        Draws(LABELS, seed=0, **options)


# ---- false negatives ----

WORDS = ["stop", "exit", "taxi", "a", "the bus", "Bus", "4", "four", "none", "Exit!"]


def pairs(n, seed):
    """Ten raw answers of n pairs."""
    rng = np.random.default_rng(seed)
    return [[WORDS[i] for i in rng.choice(rng.choice(len(WORDS), 3), 10)] for _ in range(n)]


def test_false_negatives_are_what_the_metric_scores():
    tens = pairs(30, 3)
    targets = [metric.majority(ten) for ten in tens]
    found = FalseNegatives([[*map(metric.normalise, ten)] for ten in tens], targets)
    rows = np.array([4, 29, 0, 17, 8, 9, 3])
    for i, j in np.ndindex(7, 7):
        expected = i != j and metric.soft_accuracy(targets[rows[j]], tens[rows[i]]) > 0
        assert found.among(rows)[i, j] == expected, (i, j)


def test_two_pairs_with_one_image_are_alike_where_the_image_alone_is_asked():
    answers = [[word] * 10 for word in "pqrst"]
    found = FalseNegatives(answers, "pqrst", images=[0, 1, 0, 2, 1])
    matrix = found.among(np.arange(5))
    assert {(int(i), int(j)) for i, j in np.argwhere(matrix)} == {(0, 2), (2, 0), (1, 4), (4, 1)}
    assert not FalseNegatives(answers, "pqrst").among(np.arange(5)).any()


def test_the_share_of_false_negatives_is_higher_where_answers_cluster():
    answers = [[word] * 10 for word in "abcde" for _ in range(20)]
    targets = [ten[0] for ten in answers]
    found = FalseNegatives(answers, targets)
    labels = np.repeat(np.arange(5), 20)
    hard = found.share(Draws(labels, size=10, random_share=0, seed=0))
    at_random = found.share(Draws(labels, size=10, random_share=1, seed=0))
    assert hard == 1
    assert at_random == pytest.approx(19 / 99, abs=0.03)


# ---- the loss ----


def embeddings(n=7, d=5, seed=0):
    torch.manual_seed(seed)
    image, text = (torch.randn(n, d, dtype=torch.float64) for _ in range(2))
    scale = torch.tensor(3.0, dtype=torch.float64)
    return [tensor.requires_grad_() for tensor in (image, text, scale)]


def mask(n=7, seed=0, share=0.3):
    torch.manual_seed(seed)
    some = torch.rand(n, n) < share
    return some.fill_diagonal_(False)


def reference(treatment, image, text, scale, also):
    """The mean over both directions and all rows, each a sum over its candidates in a loop."""
    n, total = len(image), 0
    for one, other, right in ((image, text, also), (text, image, also.T)):
        for i in range(n):
            terms = [scale * torch.dot(one[i], other[j]) for j in range(n)]
            candidates = [
                j for j in range(n) if treatment != "masked" or j == i or not bool(right[i, j])
            ]
            log_sum = torch.log(sum(torch.exp(terms[j]) for j in candidates))
            positives = [i]
            if treatment == "positives":
                positives += [j for j in range(n) if bool(right[i, j])]
            total = total - sum(terms[j] - log_sum for j in positives) / len(positives)
    return total / (2 * n)


@pytest.mark.parametrize("rows", [None, 1, 3, 7, 50])
@pytest.mark.parametrize("treatment", ["negatives", "masked", "positives"])
def test_loss_and_gradients_are_those_of_plain_sums(treatment, rows):
    tensors, also = embeddings(), mask()
    loss = MaskedClipLoss(treatment, rows)(*tensors, also)
    loss.backward()
    expected_tensors = embeddings()
    expected = reference(treatment, *expected_tensors, also)
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    for tensor, other in zip(tensors, expected_tensors, strict=True):
        torch.testing.assert_close(tensor.grad, other.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("treatment", ["negatives", "masked", "positives"])
def test_without_false_negatives_it_is_the_clip_loss(treatment):
    image, text, scale = embeddings()
    none = torch.zeros(7, 7, dtype=torch.bool)
    assert torch.equal(
        MaskedClipLoss(treatment)(image, text, scale, none), ClipLoss()(image, text, scale)
    )


def test_a_masked_pair_pushes_nothing_away():
    image, text, scale = embeddings()
    also = torch.ones(7, 7, dtype=torch.bool).fill_diagonal_(False)
    loss = MaskedClipLoss("masked")(image, text, scale, also)
    loss.backward()
    assert loss == 0
    assert not image.grad.any()


def test_half_precision_is_summed_in_single():
    image, text, scale = (tensor.detach() for tensor in embeddings())
    for treatment in ("masked", "positives"):
        loss = MaskedClipLoss(treatment)(image.bfloat16(), text.bfloat16(), scale.float(), mask())
        assert loss.dtype == torch.float32


def test_an_unknown_treatment_is_an_error():
    with pytest.raises(ValueError, match="'apart': must be one of negatives, masked, positives"):
        MaskedClipLoss("apart")


@pytest.mark.parametrize("treatment", ["masked", "positives"])
def test_gradient_caching_gives_the_gradients_of_the_whole_batch(treatment):
    also = mask()
    inputs = [tensor.detach() for tensor in embeddings(d=6, seed=3)[:2]]

    def gradients(micro_batch, rows):
        torch.manual_seed(1)
        towers = [torch.nn.Linear(6, 4, dtype=torch.float64) for _ in range(2)]
        scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
        loss = MaskedClipLoss(treatment, rows)
        cache = GradCache(
            Fabric(accelerator="cpu", devices=1),
            [Tower(tower, list(tower.parameters())) for tower in towers],
            micro_batch,
        )
        losses = cache.backward(
            inputs, lambda image, text: {"loss": loss(image, text, scale, also)}, seed=0
        )
        parameters = [one for tower in towers for one in tower.parameters()] + [scale]
        return [losses["loss"], *(one.grad for one in parameters)]

    whole = gradients(None, None)
    for micro_batch, rows in ((1, None), (3, 2), (7, 7)):
        for value, expected in zip(gradients(micro_batch, rows), whole, strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-14)
