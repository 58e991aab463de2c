"""Losses and heads of ordinal regression against worked numbers, and loops that spell the formulas
out."""

import math

import numpy as np
import pytest
import torch
from scipy.special import softmax

from countclip.experiments.ordinal import losses
from countclip.experiments.ordinal.heads import Adapter, RatioHead
from countclip.experiments.ordinal.losses import Fcrc
from countclip.model.heads import BoundedHead, Expectation
from countclip.training.ordinal_losses import FORMS, NORMALISERS, distances, ordinal_weights, sord

LOGITS = [[2, 1, 0, -1], [0, 1.5, 1, 0.5], [-1, 0, 1, 2.5]]
BINS = [0, 1, 3]


def example() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True), torch.tensor(BINS)


def random_example(seed: int, n: int = 7, k: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    logits = torch.tensor(rng.normal(0, 3, (n, k)), requires_grad=True)
    return logits, torch.tensor(rng.integers(0, k, n))


def fcrc(k: int, form: str, normaliser: str = "mean_one", **more) -> Fcrc:
    return Fcrc(torch.arange(float(k)), form, normaliser, **more)


def weights_of_images(y: list[int], k: int) -> np.ndarray:
    positive = torch.nn.functional.one_hot(torch.tensor(y), k).bool()
    distance = distances(torch.arange(float(k)))[torch.tensor(y)]
    return ordinal_weights(distance, positive, "mean_one", k).numpy()


def moved(logit: float, weight: float, form: str) -> float:
    """exp of a negative's logit under its weight, as the two forms are written."""
    return weight * math.exp(logit) if form == "exp" else math.exp(weight * logit)


def image_to_text_by_hand(s: np.ndarray, y: np.ndarray, form: str, total: float) -> float:
    """total: sum of the weights of an image's negatives."""
    n, k = s.shape
    terms = []
    for b in range(n):
        far = sum(abs(y[b] - m) for m in range(k))
        negatives = [
            moved(s[b, j], total * abs(y[b] - j) / far, form) for j in range(k) if j != y[b]
        ]
        terms.append(-s[b, y[b]] + math.log(math.exp(s[b, y[b]]) + sum(negatives)))
    return sum(terms) / n


def text_to_image_by_hand(s: np.ndarray, y: np.ndarray, form: str, normaliser: str) -> float:
    n, k = s.shape
    terms = []
    for i in sorted(set(y.tolist())):
        far = sum(abs(i - y[b]) for b in range(n))
        n_negative = sum(y[b] != i for b in range(n))
        total = {"mean_one": n_negative, "sum_one": 1, "as_released": k - 1}[normaliser]
        shares = [
            math.exp(s[b, i]) if y[b] == i else moved(s[b, i], total * abs(i - y[b]) / far, form)
            for b in range(n)
        ]
        wanted = [math.exp(10 * (y[b] == i)) for b in range(n)]
        p = [share / sum(shares) for share in shares]
        q = [want / sum(wanted) for want in wanted]
        terms.append(sum(b * math.log(b / a) for a, b in zip(p, q, strict=True)))
    return sum(terms) / len(terms)


# ---- weights ----


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (0, [1, 0.4, 0.8, 1.2, 1.6]),
        (1, [4 / 7, 1, 4 / 7, 8 / 7, 12 / 7]),
        (2, [4 / 3, 2 / 3, 1, 2 / 3, 4 / 3]),
        (4, [1.6, 1.2, 0.8, 0.4, 1]),
    ],
)
def test_weights_grow_with_the_distance_and_their_mean_is_one(y, expected):
    assert weights_of_images([y], 5)[0] == pytest.approx(expected)


def test_normalisers_fix_the_sum_of_the_negatives():
    y = torch.tensor([0, 0, 2, 3, 3])
    positive = torch.arange(4)[:, None] == y
    distance = distances(torch.arange(4.0))[:, y]

    def sums(normaliser):
        weights = ordinal_weights(distance, positive, normaliser, 4)
        assert (weights[positive] == 1).all()
        return weights.masked_fill(positive, 0).sum(1).tolist()

    assert sums("mean_one") == pytest.approx([3, 5, 4, 3])  # so many images are of other concepts
    assert sums("sum_one") == pytest.approx([1, 1, 1, 1])
    assert sums("as_released") == pytest.approx([3, 3, 3, 3])
    with pytest.raises(ValueError, match="unknown normaliser 'mean'"):
        sums("mean")


def test_as_released_weights_nearly_vanish_in_a_batch_of_32():
    y = torch.arange(32) % 5
    positive = torch.arange(5)[:, None] == y
    distance = distances(torch.arange(5.0))[:, y]
    weights = ordinal_weights(distance, positive, "as_released", 5)
    n_negative = (~positive).sum(1)
    means = weights.masked_fill(positive, 0).sum(1) / n_negative
    assert means.tolist() == pytest.approx([4 / 25, 4 / 25, 4 / 26, 4 / 26, 4 / 26])


def test_distances_between_values_and_between_indices():
    midpoints = torch.tensor([6.0, 15.5, 26.5])
    assert distances(midpoints)[0].tolist() == [0, 9.5, 20.5]
    assert distances(torch.arange(3.0))[0].tolist() == [0, 1, 2]
    logits, y = torch.tensor([[1.0, 2.0, 0.5]]), torch.tensor([0])
    by_value = Fcrc(midpoints, "exp").image_to_text(logits, y)
    by_hand = -1 + math.log(math.exp(1) + 19 / 30 * math.exp(2) + 41 / 30 * math.exp(0.5))
    assert by_value.item() == pytest.approx(by_hand, abs=1e-6)


# ---- FCRC: worked numbers ----


@pytest.mark.parametrize(
    ("form", "normaliser", "image_to_text", "text_to_image"),
    [
        ("plain", "mean_one", 0.5055895449, 0.3082420480),
        ("exp", "mean_one", 0.4410017308, 0.2657906793),
        ("logit", "mean_one", 0.4379166604, 0.2645186326),
        ("logit", "as_released", 0.4379166604, 0.2974416312),
    ],
)
def test_worked_losses(form, normaliser, image_to_text, text_to_image):
    loss = fcrc(4, form, normaliser)
    assert loss.image_to_text(*example()).item() == pytest.approx(image_to_text, abs=1e-9)
    assert loss.text_to_image(*example()).item() == pytest.approx(text_to_image, abs=1e-9)


def test_the_first_image_by_hand():
    logits, y = example()
    value = fcrc(4, "exp").image_to_text(logits[:1], y[:1]).item()
    by_hand = -2 + math.log(math.exp(2) + 0.5 * math.e + 1 + 1.5 * math.exp(-1))
    assert value == pytest.approx(by_hand, abs=1e-12) == pytest.approx(0.3321454656, abs=1e-9)


@pytest.mark.parametrize(
    ("way", "form", "expected"),
    [
        (
            "image_to_text",
            "exp",
            [
                [-0.0942056797, 0.0439850737, 0.0323624088, 0.0178581972],
                [0.0256581776, -0.1800107015, 0.0697461577, 0.0846063662],
                [0.0121867215, 0.0220846290, 0.0300161229, -0.0642874734],
            ],
        ),
        (
            "image_to_text",
            "logit",
            [
                [-0.0932942635, 0.0267799780, 0.0324857555, 0.0108728277],
                [0.0257315767, -0.1795720982, 0.0544737485, 0.1089474969],
                [0.0074108224, 0.0221420012, 0.0182529941, -0.0635885378],
            ],
        ),
        (
            "text_to_image",
            "exp",
            [
                [-0.0415064698, 0.0791832388, 0, 0.0105387341],
                [0.0197300558, -0.1374390116, 0, 0.0315176321],
                [0.0217764139, 0.0582557728, 0, -0.0420563662],
            ],
        ),
    ],
)
def test_worked_gradients(way, form, expected):
    logits, y = example()
    getattr(fcrc(4, form), way)(logits, y).backward()
    np.testing.assert_allclose(logits.grad, expected, rtol=0, atol=1e-9)


def test_the_logit_form_pushes_down_what_is_lowest_already():
    logits = torch.tensor([[22.0, 24, 23, 20, 18]], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([1])
    values = {form: fcrc(5, form).image_to_text(logits, y) for form in ("plain", "exp", "logit")}
    assert [round(value.item(), 3) for value in values.values()] == [0.421, 0.272, 6.859]
    values["logit"].backward()
    assert logits.grad[0].tolist() == pytest.approx([0, -0.999, 0, 0.0004, 1.712], abs=6e-4)


# ---- FCRC: formulas as loops, gradients by differences ----


@pytest.mark.parametrize("form", ["exp", "logit"])
@pytest.mark.parametrize("seed", range(3))
def test_image_to_text_is_its_formula(form, seed):
    logits, y = random_example(seed)
    s = logits.detach().numpy()
    for normaliser, total in (("mean_one", 4), ("as_released", 4), ("sum_one", 1)):
        value = fcrc(5, form, normaliser).image_to_text(logits, y).item()
        assert value == pytest.approx(image_to_text_by_hand(s, y.numpy(), form, total), abs=1e-11)


@pytest.mark.parametrize("normaliser", NORMALISERS)
@pytest.mark.parametrize("form", ["exp", "logit"])
@pytest.mark.parametrize("seed", range(3))
def test_text_to_image_is_its_formula(form, normaliser, seed):
    logits, y = random_example(seed + 10)
    s = logits.detach().numpy()
    value = fcrc(5, form, normaliser).text_to_image(logits, y).item()
    assert value == pytest.approx(text_to_image_by_hand(s, y.numpy(), form, normaliser), abs=1e-11)


def test_the_margin_raises_negatives_by_their_share_of_the_largest_distance():
    logits, y = random_example(4)
    near = np.abs(np.arange(5) - y.numpy()[:, None])
    raised = logits.detach().numpy() + 3 * near / 4
    loss = fcrc(5, "margin", margin=3.0)
    p = softmax(raised, axis=1)[np.arange(7), y.numpy()]
    assert loss.image_to_text(logits, y).item() == pytest.approx(-np.log(p).mean(), abs=1e-11)
    plain = fcrc(5, "plain").text_to_image(torch.tensor(raised), y)
    assert loss.text_to_image(logits, y).item() == pytest.approx(plain.item(), abs=1e-11)
    assert fcrc(5, "margin").image_to_text(logits, y) == fcrc(5, "plain").image_to_text(logits, y)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("way", ["image_to_text", "text_to_image"])
def test_gradients_of_fcrc_are_those_of_differences(form, way):
    logits, y = random_example(5)
    loss = fcrc(5, form, "as_released", margin=2.0)
    assert torch.autograd.gradcheck(lambda s: getattr(loss, way)(s, y), logits)


def test_gradients_of_the_other_losses_are_those_of_differences():
    logits, y = random_example(6)
    labels = torch.linspace(0, 4, 7)
    distance = distances(torch.arange(5.0))
    head = BoundedHead([0, 1, 2, 3, 4], [0.5] * 5).double()
    for loss in (
        lambda s: sord(s, y, distance),
        lambda s: losses.squared_emd(s, y),
        lambda s: losses.absolute_error(head(s), labels),
    ):
        assert torch.autograd.gradcheck(loss, logits)


# ---- guards ----


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("normaliser", NORMALISERS)
@pytest.mark.parametrize("y", [[2, 2, 2], [0], [4, 0, 4]])
def test_a_batch_of_one_concept_and_absent_concepts_give_numbers(form, normaliser, y):
    logits = random_example(7, n=len(y))[0]
    loss = fcrc(5, form, normaliser, margin=1.0)
    bins = torch.tensor(y)
    both = loss.image_to_text(logits, bins) + loss.text_to_image(logits, bins)
    both.backward()
    assert math.isfinite(both.item())
    assert torch.isfinite(logits.grad).all()


def test_images_of_one_concept_are_only_made_equally_similar():
    bins = torch.tensor([1, 1, 1])
    same = torch.tensor([[0.0, 2.0, 5.0]] * 3)
    other = torch.tensor([[0.0, 2.0, 5.0], [0.0, 2.0, 5.0], [0.0, 3.0, 5.0]])
    for form in FORMS:
        loss = fcrc(3, form, "as_released", margin=1.0)
        assert loss.text_to_image(same, bins).item() == pytest.approx(0, abs=1e-6)
        # ln of the mean of (e^2, e^2, e^3), less the mean of (2, 2, 3)
        expected = math.log((2 * math.exp(2) + math.exp(3)) / 3) - 7 / 3
        assert loss.text_to_image(other, bins).item() == pytest.approx(expected, abs=1e-6)


def test_an_absent_concept_gets_no_gradient_from_text_to_image():
    logits, _ = random_example(8, n=4)
    fcrc(5, "exp").text_to_image(logits, torch.tensor([0, 1, 4, 4])).backward()
    assert (logits.grad[:, [2, 3]] == 0).all()
    assert (logits.grad[:, [0, 1, 4]] != 0).all()


def test_an_unknown_form_is_named():
    with pytest.raises(ValueError, match="unknown form 'log' of FCRC; use plain, exp"):
        fcrc(5, "log")


# ---- other losses ----


def test_sord_is_cross_entropy_against_soft_labels():
    logits, y = random_example(9)
    s = logits.detach().numpy()
    for sharpness in (1.0, 2.5):
        target = softmax(-sharpness * np.abs(np.arange(5) - y.numpy()[:, None]), axis=1)
        expected = -(target * np.log(softmax(s, axis=1))).sum(1).mean()
        value = sord(logits, y, distances(torch.arange(5.0)), sharpness).item()
        assert value == pytest.approx(expected, abs=1e-11)


def test_squared_emd_by_hand():
    # probabilities 1/2, 1/4, 1/4; their cumulative sums 1/2, 3/4, 1
    logits = torch.tensor([[2.0, 1.0, 1.0]], dtype=torch.float64).log()
    for y, expected in ((0, 1 / 4 + 1 / 16), (1, 1 / 4 + 1 / 16), (2, 1 / 4 + 9 / 16)):
        assert losses.squared_emd(logits, torch.tensor([y])).item() == pytest.approx(expected)


def test_sord_and_emd_are_those_of_dlordinal():
    """The values that SORDLoss and EMDLoss of dlordinal 2.7.0 return for the worked example."""
    logits, y = example()
    distance = distances(torch.arange(4.0))
    for sharpness, expected in ((1.0, 1.058353130080417), (2.5, 0.6274133189263025)):
        assert sord(logits, y, distance, sharpness).item() == pytest.approx(expected)
    assert losses.squared_emd(logits, y).item() == pytest.approx(0.14921543242992158)


# ---- heads ----


def test_expectation_by_hand():
    logits = torch.tensor([[2.0, 1.0, 1.0], [1.0, 1.0, 2.0]]).log()
    assert Expectation([6, 15.5, 26.5])(logits).tolist() == pytest.approx([13.5, 18.625])


def test_heads_begin_nearly_as_the_expectation():
    torch.manual_seed(0)
    logits = torch.randn(6, 5) * 3
    midpoints = [6.0, 15.5, 26.5, 49.5, 80.0]
    plain = Expectation(midpoints)(logits)
    for head in (RatioHead(midpoints), BoundedHead(midpoints, [6, 2.5, 7.5, 14.5, 15])):
        assert sum(p.numel() for p in head.parameters()) == 115  # as the released one for K = 5
        torch.testing.assert_close(head(logits), plain, rtol=0, atol=0.01)
        assert all((layer.bias == 0).all() for layer in (head.layers[0], head.layers[2]))


def set_outputs(head, before_tanh: list[float]) -> None:
    """Make the layers give these numbers whatever the logits."""
    with torch.no_grad():
        head.layers[2].weight.zero_()
        head.layers[2].bias.copy_(torch.tensor(before_tanh))


def test_ratio_head_divides_each_start():
    head = RatioHead([0.0, 13.0, 19.0])
    set_outputs(head, [0.5, math.atanh(0.25), math.atanh(-0.5)])
    logits = torch.tensor([[2.0, 1.0, 1.0]]).log()
    assert head(logits).item() == pytest.approx(0 + 13 / 1.25 / 4 + 19 / 0.5 / 4, rel=1e-6)


def test_ratio_head_of_the_first_bin_alone_can_say_nothing_but_zero():
    head = RatioHead([0.0, 13.0, 19.0])
    set_outputs(head, [-3.0, 2.0, 1.0])
    assert head(torch.tensor([[100.0, -100.0, -100.0]])).item() == 0


@pytest.mark.parametrize("before_tanh", [-1e4, -20.0, 1e4])
def test_heads_have_no_pole(before_tanh):
    logits = torch.tensor([[1.0, 0.0, -1.0]], requires_grad=True)
    ratio, bounded = RatioHead([10.0, 20.0, 30.0]), BoundedHead([10.0, 20, 30], [5.0, 5, 5])
    for head in (ratio, bounded):
        set_outputs(head, [before_tanh] * 3)
        value = head(logits)
        value.backward()
        assert torch.isfinite(value).all()
        assert all(torch.isfinite(p.grad).all() for p in head.parameters())
    plain = Expectation([10.0, 20.0, 30.0])(logits).item()
    sign = math.copysign(1, before_tanh)
    assert bounded(logits).item() == pytest.approx(plain + 5 * sign, rel=1e-6)
    factor = 10 if sign < 0 else 0.5  # 1 + d is held at 0.1
    assert ratio(logits).item() == pytest.approx(plain * factor, rel=1e-5)


def test_bounded_head_stays_within_the_bins():
    torch.manual_seed(1)
    head = BoundedHead([6.0, 15.5, 26.5], [6.0, 2.5, 7.5])
    for layer in head.layers[0], head.layers[2]:
        torch.nn.init.normal_(layer.weight, std=30.0)
    values = head(torch.randn(200, 3) * 50)
    assert values.min() >= 0
    assert values.max() <= 34


def test_adapter_by_hand():
    adapter = Adapter(4)
    with torch.no_grad():
        adapter.layers[0].weight.copy_(torch.tensor([[1.0, 0, 0, -1]]))
        adapter.layers[2].weight.copy_(torch.tensor([[1.0], [2], [-1], [0]]))
    z = torch.tensor([[3.0, 1, 1, 1], [1.0, 1, 1, 3]])
    expected = [[0.8 * 2 + 0.6, 0.8 * 4 + 0.2, 0.2, 0.2], [0.2, 0.2, 0.2, 0.6]]
    assert adapter(z).tolist() == [pytest.approx(row) for row in expected]
    assert [tuple(p.shape) for p in Adapter(512).parameters()] == [(128, 512), (512, 128)]


def test_adapter_and_heads_compute_in_float32_under_autocast():
    torch.manual_seed(2)
    logits, embeddings = torch.randn(5, 3) * 9, torch.randn(5, 64)
    parts = [
        (Adapter(64), embeddings),
        (RatioHead([10.0, 20, 30]), logits),
        (BoundedHead([10.0, 20, 30], [5.0, 5, 5]), logits),
        (Expectation([10.0, 20, 30]), logits),
    ]
    for part, inputs in parts:
        expected = part(inputs)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(part(inputs), expected), part
            assert part(inputs.bfloat16()).dtype == torch.float32
