"""Reliability balancing against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from arbex.models.distributions import log_softmax, mix, sum_over_anchors
from arbex.models.head import LinearHead, ReliabilityHead, Temperatures


def test_geometric_correction_of_two_anchors() -> None:
    head = ReliabilityHead(2, 2, anchors=1, embedding=8, tokens=2, attention_heads=1)
    with torch.no_grad():
        head.anchors.zero_()
        head.anchors[0, 0, 0], head.anchors[1, 0, 0] = 3.0, -4.0
        # e = 0: distances 3 and 4; softmax(-3, -4) = 1 / (1 + e^-1) = .73106
        t = sum_over_anchors(-head.distances(torch.zeros(1, 8)) / head.delta).exp()
    assert t[0, 0].item() == pytest.approx(0.73106, abs=1e-5)


def test_geometric_correction_sums_over_the_anchors_of_a_class() -> None:
    head = ReliabilityHead(2, 2, anchors=2, embedding=8, tokens=2, attention_heads=1, delta=2.0)
    with torch.no_grad():
        head.anchors.zero_()
        head.anchors[0, 0, 0], head.anchors[0, 1, 1] = 2.0, 4.0
        head.anchors[1, 0, 2], head.anchors[1, 1, 3] = 2.0, 6.0
        # exp(-d / 2): class 0 has e^-1 + e^-2 = .50321, class 1 has e^-1 + e^-3 = .41767
        t = sum_over_anchors(-head.distances(torch.zeros(1, 8)) / head.delta).exp()
    assert t[0, 0].item() == pytest.approx(0.50321 / 0.92088, abs=1e-5)


def test_outputs_are_distributions_and_anchors_are_apart() -> None:
    torch.manual_seed(0)
    head = ReliabilityHead(16, 7).eval()
    b = head(torch.randn(4, 16))
    for name in ("corrected", "primary", "geometric", "attentive"):
        p = getattr(b, name).exp()
        assert p.shape == (4, 7)
        assert torch.allclose(p.sum(-1), torch.ones(4), atol=1e-5)
    distances = torch.cdist(head.anchors.flatten(0, 1), head.anchors.flatten(0, 1))
    assert distances[~torch.eye(70, dtype=torch.bool)].min() > 0.5


def test_gradients_are_finite_where_an_embedding_meets_an_anchor() -> None:
    head = ReliabilityHead(4, 3, anchors=2)
    with torch.no_grad():
        head.reduce.weight.zero_()
        head.reduce.bias.copy_(head.anchors[0, 0])
    head(torch.randn(2, 4)).corrected[:, 0].sum().backward()
    gradients = [p.grad for p in head.parameters() if p.grad is not None]
    assert len(gradients) > 5
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("value", [0.0, 1e4, -1e4])
def test_extreme_features_give_finite_answers(value: float) -> None:
    b = ReliabilityHead(4, 7).eval()(torch.full((1, 4), value))
    assert all(torch.isfinite(t).all() for t in b)


def test_linear_head_corrects_nothing() -> None:
    b = LinearHead(4, 3)(torch.randn(2, 4))
    assert torch.equal(b.corrected, b.primary)
    assert torch.allclose(b.primary, F.log_softmax(b.logits, -1), atol=1e-6)


def test_each_temperature_acts_on_its_own_distribution() -> None:
    torch.manual_seed(0)
    head = ReliabilityHead(4, 3, anchors=2).eval()
    evidence = head.evidence(torch.randn(5, 4))
    plain = head.balance(evidence, Temperatures())
    for name in ("primary", "geometric", "attentive"):
        scaled = head.balance(evidence, Temperatures()._replace(**{name: 2.0}))
        changed = {part for part in ("primary", "geometric", "attentive")
                   if not torch.equal(getattr(scaled, part), getattr(plain, part))}  # fmt: skip
        assert changed == {name}
        assert not torch.equal(scaled.corrected, plain.corrected)
    halved = head.balance(evidence, Temperatures(mixture=2.0)).corrected
    # p ** (1 / 2), normalized again
    assert torch.allclose(halved, log_softmax(plain.corrected / 2), atol=1e-6)


def test_a_head_of_any_method_divides_its_logits_by_its_temperature() -> None:
    head = LinearHead(4, 3)
    features = torch.randn(2, 4)
    logits = head(features).logits
    head.temperatures = Temperatures(primary=2.0)
    assert torch.allclose(head(features).logits, logits / 2)
    assert torch.allclose(head(features).corrected, log_softmax(logits / 2), atol=1e-6)


def test_equal_weights_are_the_mean_of_the_three_parts() -> None:
    torch.manual_seed(0)
    b = ReliabilityHead(4, 3, anchors=2, weights="equal").eval()(torch.randn(5, 4))
    mean = (b.primary.exp() + b.geometric.exp() + b.attentive.exp()) / 3
    assert torch.allclose(b.corrected.exp(), mean, atol=1e-6)


@pytest.mark.parametrize(("correction", "parts"), [("both", 3), ("anchors", 2), ("attention", 2), ("none", 1)])
def test_corrections_can_be_left_out(correction: str, parts: int) -> None:
    torch.manual_seed(0)
    head = ReliabilityHead(4, 3, anchors=2, correction=correction).eval()
    b = head(torch.randn(5, 4))
    assert len(b.parts) == parts
    assert torch.equal(b.corrected, b.primary) == (correction == "none")
    assert all(torch.allclose(part.exp().sum(1), torch.ones(5), atol=1e-5) for part in (*b.parts, b.corrected))
    names = {name.partition(".")[0] for name, tensor in head.state_dict().items() if tensor.numel()}
    assert ("anchors" in names) == (correction in ("both", "anchors"))
    assert ("query_key_value" in names) == (correction in ("both", "attention"))


def test_a_primary_classifier_without_hidden_layers_is_linear() -> None:
    torch.manual_seed(0)
    head = ReliabilityHead(6, 3, 2, hidden=0).eval()
    features = torch.randn(4, 6)
    (linear,) = head.primary
    expected = head.reduce(features) @ linear.weight.T + linear.bias
    torch.testing.assert_close(head(features).logits, expected)
    assert head.inner_weights == (head.reduce.weight, head.query_key_value.weight)


def test_the_weights_have_a_gradient_where_it_is_asked_for() -> None:
    log_p = torch.tensor([[0.8, 0.2]], dtype=torch.float64).log().requires_grad_()
    log_q = torch.tensor([[0.6, 0.4]], dtype=torch.float64).log()
    assert torch.autograd.gradcheck(lambda p: mix(p, log_q, gradient=True), [log_p], atol=1e-6)


def test_without_trust_the_correction_has_no_weight() -> None:
    p, q = torch.tensor([[0.8, 0.2]]), torch.tensor([[0.1, 0.9]])
    assert torch.allclose(mix(p.log(), q.log(), trust=0.0).exp(), p, atol=1e-5)
    # C(.1, .9) = .53100; half of it is .26550, beside .27807: (.27807 * .8 + .26550 * .1) / .54357 = .45808
    assert mix(p.log(), q.log(), trust=0.5).exp()[0, 0].item() == pytest.approx(0.45808, abs=1e-4)


def test_trust_is_limited_in_training_only() -> None:
    torch.manual_seed(0)
    head = ReliabilityHead(4, 3, anchors=2, dropout=0.0)
    for norm in head.modules():
        if isinstance(norm, torch.nn.BatchNorm1d):
            norm.eval()
    features = 100 * torch.randn(5, 4)  # far from the uniform distribution, whose confidence is 0
    head.trust = 0.0
    assert torch.allclose(head(features).corrected.exp(), head(features).primary.exp(), atol=1e-3)
    assert not torch.allclose(head.eval()(features).corrected.exp(), head(features).primary.exp(), atol=1e-1)


def test_anchors_start_clustered_or_spread() -> None:
    torch.manual_seed(0)
    near, far = (ReliabilityHead(4, 7, clustered=clustered).anchors for clustered in (True, False))
    within = [torch.cdist(a[0], a[0])[~torch.eye(10, dtype=torch.bool)].mean() for a in (near, far)]
    assert within[0] < 4
    assert within[1] > 6.5  # of radius 5, nearly orthogonal
