from math import e, log

import pytest
import torch

from countclip.training.counting import COUNTERFACTUALS
from countclip.training.losses import ClipLoss, CountLoss

X, Y = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])


def test_clip_loss_of_two_orthogonal_pairs_by_hand():
    both = torch.stack([X, Y])
    # each row: -log(e^s / (e^s + e^0))
    assert ClipLoss()(both, both, torch.tensor(1.0)).item() == pytest.approx(log(1 + 1 / e))
    assert ClipLoss()(both, both, torch.tensor(3.0)).item() == pytest.approx(log(1 + e**-3))
    assert ClipLoss()(both, both.flip(0), torch.tensor(1.0)).item() == pytest.approx(log(1 + e))


def test_count_loss_is_equation_2_by_hand():
    captions = torch.stack([X, Y])[None]  # true caption: cosine 1, counterfactual: 0
    one = torch.ones(1)
    assert CountLoss()(X[None], captions, one).item() == pytest.approx(log(1 + 1 / e))
    assert CountLoss()(Y[None], captions, one).item() == pytest.approx(log(1 + e))
    assert CountLoss(5)(X[None], captions, one).item() == pytest.approx(log(1 + e**-5), rel=1e-4)


def test_count_plus_loss_is_equation_7_by_hand():
    captions = torch.stack([X, *[Y] * 8])[None]
    expected = -log(e / (e + 8))
    assert CountLoss()(X[None], captions, torch.ones(1)).item() == pytest.approx(expected)


@pytest.mark.parametrize(("loss", "chance"), [("count", log(2)), ("count_plus", log(9))])
def test_equal_captions_cost_chance(loss, chance):
    captions = X.expand(4, 1 + COUNTERFACTUALS[loss], 2)
    assert CountLoss(20)(X.expand(4, 2), captions, torch.ones(4)).item() == pytest.approx(chance)


def test_lambda_weighs_each_pair_and_the_sum_is_divided_by_n():
    image = torch.stack([X, Y])
    captions = torch.stack([torch.stack([X, Y])] * 2)
    expected = (2 * log(1 + 1 / e) + 5 * log(1 + e)) / 2
    assert CountLoss()(image, captions, torch.tensor([2.0, 5.0])).item() == pytest.approx(expected)


def test_half_precision_embeddings_are_reduced_in_float32():
    generator = torch.Generator().manual_seed(0)
    image = torch.nn.functional.normalize(torch.randn(6, 16, generator=generator), dim=-1)
    low = image.bfloat16()
    assert ClipLoss()(low, low, torch.tensor(50.0)).dtype == torch.float32
    assert CountLoss()(low, low[:, None].expand(6, 9, 16), torch.ones(6)).dtype == torch.float32


def test_gradients_in_float64_match_finite_differences():
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(3, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    captions = torch.randn(3, 9, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    weights = torch.tensor([0.5, 1.0, 7.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda i, c: CountLoss(4)(i, c, weights), (image, captions))
    assert torch.autograd.gradcheck(
        lambda i, c: ClipLoss()(i, c[:, 0], torch.tensor(9.0, dtype=torch.float64)),
        (image, captions),
    )
