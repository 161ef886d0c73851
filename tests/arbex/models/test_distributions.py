"""Confidence and mixtures of distributions against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from arbex.models.distributions import confidence, log_softmax, logsumexp, mix

distributions = st.lists(st.floats(1e-3, 1.0), min_size=3, max_size=3).map(
    lambda v: (torch.tensor(v, dtype=torch.float64) / sum(v)).unsqueeze(0)
)


def test_confidence_is_one_minus_normalized_entropy() -> None:
    # H(1/2, 1/4, 1/4) = 1.5 ln 2; ln 3 = 1.0986: C = 1 - 1.03972 / 1.09861 = 0.05360
    p = torch.tensor([[0.5, 0.25, 0.25]])
    assert confidence(p.log()).item() == pytest.approx(0.05360, abs=1e-5)


def test_confidence_is_one_at_one_hot_and_zero_at_uniform() -> None:
    one_hot = log_softmax(torch.tensor([[500.0, 0.0, 0.0, 0.0]]))
    assert confidence(one_hot).item() == 1.0
    assert confidence(torch.full((1, 4), math.log(0.25))).item() == pytest.approx(0.0, abs=1e-7)


def test_mixture_weighs_by_confidence() -> None:
    # C(.8, .2) = 1 - .50040/.69315 = .27807; C(.6, .4) = 1 - .67301/.69315 = .02905
    # weights .90541 and .09459: .90541 * .8 + .09459 * .6 = .78108
    p, q = torch.tensor([[0.8, 0.2]]), torch.tensor([[0.6, 0.4]])
    assert mix(p.log(), q.log()).exp()[0, 0].item() == pytest.approx(0.78108, abs=1e-5)


def test_mixture_of_two_unsure_distributions_is_their_mean() -> None:
    uniform = torch.full((1, 7), 1 / 7).log()
    assert torch.allclose(mix(uniform, uniform), uniform, atol=1e-6)


@given(distributions, distributions)
def test_mixture_is_a_distribution_between_both(p: torch.Tensor, q: torch.Tensor) -> None:
    m = mix(p.log(), q.log()).exp()
    assert m.sum().item() == pytest.approx(1.0, abs=1e-6)
    assert (m >= torch.minimum(p, q) - 1e-9).all()
    assert (m <= torch.maximum(p, q) + 1e-9).all()


def test_weights_of_the_mixture_carry_no_gradient() -> None:
    log_p = torch.tensor([[0.8, 0.2]]).log().requires_grad_()
    log_q = torch.tensor([[0.6, 0.4]]).log()
    (gradient,) = torch.autograd.grad(mix(log_p, log_q).exp()[0, 0], log_p)
    # d(w p)/d(log p) = w p with w = .90541 held fixed
    assert gradient[0, 0].item() == pytest.approx(0.90541 * 0.8, abs=1e-4)


def test_log_softmax_agrees_with_torch_and_stays_finite() -> None:
    z = torch.randn(5, 7) * 10
    assert torch.allclose(log_softmax(z), F.log_softmax(z, -1), atol=1e-5)
    assert torch.allclose(logsumexp(z).squeeze(-1), torch.logsumexp(z, -1), atol=1e-5)
    assert torch.isfinite(log_softmax(torch.tensor([[300.0, -300.0, 0.0]]))).all()
