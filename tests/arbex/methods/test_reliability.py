"""The losses of section 3.5 against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from arbex.errors import InputError, UnsupportedError
from arbex.methods import METHODS, load_method, read_options
from arbex.methods.base import TrainingBatch, cross_entropy
from arbex.methods.reliability import Reliability, ReliabilityOptions, anchor_loss, center_loss
from arbex.models.head import LinearHead, ReliabilityHead
from arbex.settings import TrainSettings, assign


def test_cross_entropy_with_smoothing() -> None:
    # targets (.9 * 1 + .05, .05): -(.95 ln .8 + .05 ln .2) = .29246
    log_p = torch.tensor([[0.8, 0.2]]).log()
    assert cross_entropy(log_p, torch.tensor([[1.0, 0.0]]), 0.1).item() == pytest.approx(0.29246, abs=1e-4)


def test_anchor_loss_without_bound_and_as_printed() -> None:
    # classes 0: (0,0), (1,0); 1: (0,2), (1,2). Squared distances across: 4, 5, 5, 4; mean 4.5; by D = 2: -2.25
    anchors = torch.tensor([[[0.0, 0.0], [1.0, 0.0]], [[0.0, 2.0], [1.0, 2.0]]])
    assert anchor_loss(anchors, bounded=False).item() == pytest.approx(-2.25)
    # all 16 ordered pairs, as the sums over i, j, k, l have them: across 2 * 18, within 2 * 1 + 2 * 1, selves 0
    assert anchor_loss(anchors, bounded=False, pairs="all").item() == pytest.approx(-40 / 16 / 2)


def test_bounded_anchor_loss_lies_between_zero_and_one() -> None:
    together = torch.zeros(3, 2, 4)
    assert anchor_loss(together, bounded=True).item() == 1.0
    apart = torch.stack([torch.full((2, 4), 100.0 * i) for i in range(3)])
    assert anchor_loss(apart, bounded=True).item() == 0.0
    # squared distances 4 and 5 over 2D = 4: max(0, 1 - 1) = 0, max(0, 1 - 5/4) = 0; at distance 1: 1 - 1/4
    near = torch.tensor([[[0.0, 0.0]], [[1.0, 0.0]]])
    assert anchor_loss(near, bounded=True).item() == pytest.approx(0.75)


def test_the_printed_form_has_no_lower_bound_and_the_other_has() -> None:
    anchors = torch.randn(3, 2, 8)
    assert anchor_loss(100 * anchors, bounded=False) < 100 * anchor_loss(anchors, bounded=False)
    assert anchor_loss(100 * anchors, bounded=True) >= 0


def test_center_loss_takes_the_nearest_anchor_of_the_own_class() -> None:
    distances = torch.tensor([[[3.0, 2.0], [1.0, 1.0]], [[1.0, 1.0], [5.0, 4.0]]])  # [B=2, N=2, K=2]
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert center_loss(distances, targets).item() == pytest.approx((4 + 16) / 2)


def test_losses_are_weighted_and_named() -> None:
    torch.manual_seed(0)
    head = ReliabilityHead(8, 3, anchors=2)
    balance = head(torch.randn(4, 8))
    targets = torch.eye(3)[torch.tensor([0, 1, 2, 0])]
    method = load_method("arbex")
    positions = torch.arange(4)
    one = method.losses(TrainingBatch(head, balance, targets, TrainSettings(), positions))
    doubled = TrainSettings(lambda_anchor=0.2, lambda_parts=1.0)
    two = method.losses(TrainingBatch(head, balance, targets, doubled, positions))
    assert set(one) == {"class", "anchor", "center"}
    assert set(two) == {"class", "anchor", "center", "parts"}
    assert two["anchor"].item() == pytest.approx(2 * one["anchor"].item())


def test_without_anchors_attention_alone_corrects() -> None:
    torch.manual_seed(0)
    method = load_method("arbex")
    head = method.build_head(8, 3, anchors=0)
    balance = head(torch.randn(4, 8))
    assert balance.geometric is balance.attentive
    assert torch.allclose(balance.corrected.exp().sum(1), torch.ones(4))
    assert not torch.equal(balance.corrected, balance.primary)
    settings = TrainSettings(lambda_parts=1.0)
    losses = method.losses(TrainingBatch(head, balance, torch.eye(3)[[0, 1, 2, 0]], settings, torch.arange(4)))
    assert set(losses) == {"class", "parts"}
    each = sum(cross_entropy(part, torch.eye(3)[[0, 1, 2, 0]], 0.11) for part in (balance.primary, balance.attentive))
    assert torch.isclose(losses["parts"], torch.as_tensor(each))


def test_the_encoder_can_be_trained_through_the_anchors_alone() -> None:
    method = load_method("arbex")
    head = method.build_head(8, 3, anchors=2)
    features = torch.randn(4, 8, requires_grad=True)
    for value, expected in (("all", True), ("anchors", False)):
        method.set_up(head, TrainSettings(encoder_gradient=value))
        grad = torch.autograd.grad(head(features).primary[:, 0].sum(), features, allow_unused=True)[0]
        assert (grad is not None) == expected
    assert torch.autograd.grad(head(features).geometric[:, 0].sum(), features)[0].abs().sum() > 0


def test_without_anchors_the_other_parts_train_the_encoder() -> None:
    method = load_method("arbex")
    head = method.build_head(8, 3, anchors=0)
    method.set_up(head, TrainSettings(encoder_gradient="anchors"))
    features = torch.randn(4, 8, requires_grad=True)
    assert torch.autograd.grad(head(features).primary[:, 0].sum(), features)[0].abs().sum() > 0


def test_dropout_follows_the_settings() -> None:
    method = load_method("arbex")
    head = method.build_head(8, 3, anchors=2)
    method.set_up(head, TrainSettings(dropout=0.25))
    assert {m.p for m in head.modules() if isinstance(m, torch.nn.Dropout)} == {0.25}


def test_poster_is_plain_cross_entropy() -> None:
    method = load_method("poster")
    head = method.build_head(8, 4, anchors=10)
    assert isinstance(head, LinearHead)
    torch.nn.init.zeros_(head.classify.weight)
    torch.nn.init.zeros_(head.classify.bias)
    balance = head(torch.ones(2, 8))
    settings = TrainSettings(label_smoothing=0.0)
    loss = method.losses(TrainingBatch(head, balance, torch.eye(4)[:2], settings, torch.arange(2)))
    assert loss["class"].item() == pytest.approx(math.log(4))
    assert torch.equal(balance.corrected, balance.primary)


def test_every_method_in_the_table_loads_and_others_are_refused() -> None:
    for name in METHODS:
        assert load_method(name).name == name
    with pytest.raises(UnsupportedError, match="Allowed: arbex, poster"):
        load_method("magic")


def test_what_the_paper_leaves_open_are_options() -> None:
    options, others = assign(ReliabilityOptions(), ["tokens=16", "delta=2.5", "radius=3", "epochs=4"])
    assert others == ["epochs=4"]
    head = Reliability(options).build_head(8, 3, anchors=2)
    assert isinstance(head, ReliabilityHead)
    assert (head.tokens, head.attention_heads, head.delta) == (16, 4, 2.5)
    assert torch.allclose(head.anchors.norm(dim=-1), torch.full((3, 2), 3.0))
    assert head.query_key_value.in_features == 128 // 16


def test_trust_grows_with_the_epochs_where_it_is_asked_for() -> None:
    settings = TrainSettings(epochs=4)
    for trust, expected in (("full", [1.0, 1.0]), ("ramp", [0.25, 1.0])):
        method = load_method("arbex", read_options("arbex", {"trust": trust}))
        head = method.build_head(8, 3, anchors=2)
        assert isinstance(head, ReliabilityHead)
        found = []
        for epoch in (1, 4):
            method.start_epoch(head, epoch, settings)
            found.append(head.trust)
        assert found == expected


def test_anchors_alone_cannot_correct_without_anchors() -> None:
    method = load_method("arbex", read_options("arbex", {"correction": "anchors"}))
    with pytest.raises(InputError, match="anchors is 0, and correction is 'anchors': nothing would correct"):
        method.build_head(8, 3, anchors=0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"correction": "some"}, "correction is 'some'. Allowed: both, anchors, attention, none."),
        ({"weights": "votes"}, "weights is 'votes'. Allowed: confidence, equal."),
        ({"tokens": 7}, "tokens is 7 and attention_heads is 4; their product does not divide"),
        ({"tokens": 64, "attention_heads": 4}, "tokens is 64 and attention_heads is 4; their product does not divide"),
        ({"delta": 0.0}, "delta is 0.0. Allowed: 0.001 to 1000."),
        ({"radius": -1.0}, "radius is -1.0. Allowed: 0.001 to 1000."),
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_options("arbex", wrong)
