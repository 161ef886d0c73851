"""The formulas of the other methods, against numbers worked out by hand and against their limiting cases."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from arbex.errors import InputError, UnsupportedError
from arbex.methods import load_method, read_options
from arbex.methods.base import TrainingBatch, strongest_other
from arbex.methods.nla import (
    NlaOptions,
    covariance_right,
    distance_from_mean_logits,
    jensen_shannon,
    noise_aware_weight,
)
from arbex.methods.ran import RegionHead, Regions, region_loss
from arbex.methods.rul import RulOptions, UncertaintyHead, mix
from arbex.methods.scn import ImportanceHead, ScnOptions, rank_loss, split_by_importance
from arbex.methods.tcl import CenterHead, TclOptions, choose_negatives, half_squared
from arbex.models.head import Balance
from arbex.settings import TrainSettings, assign

PLAIN = TrainSettings(label_smoothing=0.0, epochs=10)


def balance_of(p: list[list[float]], embedding: Tensor | None = None) -> Balance:
    log_p = torch.tensor(p).log()
    return Balance(log_p, log_p, log_p, log_p, log_p, torch.zeros(len(p), 2) if embedding is None else embedding)


def losses_of(
    name: str, balance: Balance, labels: list[int], *, epoch: int = 1, **options: object
) -> dict[str, Tensor]:
    method = load_method(name, read_options(name, options))
    targets = torch.eye(balance.primary.shape[1])[labels]
    head = method.build_head(2, balance.primary.shape[1], anchors=0)
    return method.losses(TrainingBatch(head, balance, targets, PLAIN, torch.arange(len(labels))))


def test_the_strongest_other_class() -> None:
    values = torch.tensor([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
    assert strongest_other(values, torch.tensor([0, 2])).tolist() == [1, 0]


# NLA


def test_the_weight_of_a_right_prediction() -> None:
    # x = (.6, .3), mu = (.5, .5), Sigma = .8 I: exp(-.5 (.01 + .04) / .8) = .96923; density: / (2 pi .8) = .19282
    p = torch.tensor([[0.6, 0.3, 0.1]], dtype=torch.float64)
    weight = noise_aware_weight(p, torch.tensor([0]), 0.0, density=False)
    assert weight.item() == pytest.approx(0.96923, abs=1e-5)
    assert noise_aware_weight(p, torch.tensor([0]), 0.0, density=True).item() == pytest.approx(0.19282, abs=1e-5)


def test_the_weight_of_a_wrong_prediction() -> None:
    # x = (.3, .6), mu = (.30, .15): only .45 in the second; the variances are .91^2 +- (.91 / 6)^2, .851103 and
    # .805097, det = .0761944; exp(-.5 * .2025 * .851103 / .0761944) = .32272
    p = torch.tensor([[0.6, 0.3, 0.1]], dtype=torch.float64)
    assert noise_aware_weight(p, torch.tensor([1]), 0.0, density=False).item() == pytest.approx(0.32272, abs=1e-5)


def test_the_covariance_of_right_predictions_follows_training() -> None:
    # Sigma = ((.8, b), (b, .8)); b = 0 at the start and -.48 at the end, where det = .8^2 - .48^2 = .4096.
    # x - mu = (-.05, -.06): .0061 / .8 = .007625, then (.8 * .0061 + .96 * .003) / .4096 = .018945
    # x - mu = (.4, -.45): .3625 / .8 = .453125, then (.8 * .3625 - .96 * .18) / .4096 = .286133
    assert covariance_right(0.0) == 0
    assert covariance_right(1.0) == pytest.approx(-0.48, abs=1e-6)
    p = torch.tensor([[0.45, 0.44, 0.11], [0.9, 0.05, 0.05]], dtype=torch.float64)
    labels = torch.tensor([0, 0])
    for progress, exponents in ((0.0, (0.007625, 0.453125)), (1.0, (0.018945, 0.286133))):
        weights = noise_aware_weight(p, labels, progress, density=False)
        assert weights.tolist() == pytest.approx([math.exp(-0.5 * x) for x in exponents], abs=1e-5)


def test_jensen_shannon() -> None:
    p, q = torch.tensor([[0.75, 0.25]]).log(), torch.tensor([[0.25, 0.75]]).log()
    assert jensen_shannon(p, p).item() == pytest.approx(0, abs=1e-7)
    assert jensen_shannon(p, q).item() == pytest.approx(0.13081, abs=1e-5)
    assert jensen_shannon(p, q).item() == pytest.approx(jensen_shannon(q, p).item())
    sure = torch.tensor([[0.0, -80.0]]), torch.tensor([[-80.0, 0.0]])
    assert jensen_shannon(*sure).item() == pytest.approx(math.log(2))


def test_both_forms_of_nla() -> None:
    views = balance_of([[0.6, 0.3, 0.1], [0.3, 0.6, 0.1]])  # an image, and its mirror image
    ce, w, density = -math.log(0.6), 0.96923, 0.19282
    jsd = jensen_shannon(views.primary[:1], views.primary[1:]).item()
    paper = losses_of("nla", views, [0])
    assert paper["class"].item() == pytest.approx(0.5 * (1 + w) * ce, abs=1e-4)
    assert paper["consistency"].item() == pytest.approx(0.5 * jsd, abs=1e-6)
    code = losses_of("nla", views, [0], form="code")
    assert code["class"].item() == pytest.approx(0.5 * ce + 0.5 * density * ce, abs=1e-4)
    # -ln(2 sqrt(.18) + .1) = .052844
    assert code["consistency"].item() == pytest.approx(0.5 * 0.052844, abs=1e-6)


def test_the_consistency_of_the_code_is_taken_from_the_mean_of_the_logits() -> None:
    p, q = torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.5, 0.5]]).log()
    # -ln(sqrt(.45) + sqrt(.05)) = .111572, where Jensen and Shannon have .101749
    distance = distance_from_mean_logits(p, q)
    assert distance.item() == pytest.approx(0.111572, abs=1e-6)
    middle = ((p + q) / 2).softmax(-1)  # (.75, .25)
    by_definition = 0.5 * sum(float((middle * (middle.log() - each)).sum()) for each in (p, q))
    assert distance.item() == pytest.approx(by_definition, abs=1e-6)


def test_the_form_of_the_code_as_a_whole() -> None:
    """Two images with their mirror images: losses, and gradients of the logits."""
    z = torch.tensor([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.3, 0.6, 0.1], [0.6, 0.3, 0.1]]).log().requires_grad_()
    log_p = z.log_softmax(-1)
    views = Balance(log_p, log_p, log_p, log_p, z, torch.zeros(4, 2))
    found = losses_of("nla", views, [0, 1], form="code")
    assert found["class"].item() == pytest.approx(0.509331, abs=1e-5)
    assert found["consistency"].item() == pytest.approx(0.026422, abs=1e-6)
    (gradient,) = torch.autograd.grad(found["class"], z, retain_graph=True)
    expected = [[-0.121129, 0.091309, 0.029821], [0.062411, -0.100965, 0.038554]]  # through the weight, too
    assert torch.allclose(gradient[:2], torch.tensor(expected), atol=2e-5)
    assert gradient[2:].abs().max() == 0
    (gradient,) = torch.autograd.grad(found["consistency"], z)
    expected = [[0.038178, -0.036822, -0.001357], [0, 0, 0], [-0.036822, 0.038178, -0.001357], [0, 0, 0]]
    assert torch.allclose(gradient, torch.tensor(expected), atol=2e-5)


def test_the_consistency_of_the_code_is_a_sum_over_the_batch() -> None:
    # twice the same pair: 2 * .143841, of which the loss takes half
    views = balance_of([[0.75, 0.25]] * 2 + [[0.25, 0.75]] * 2)
    assert losses_of("nla", views, [0, 0], form="code")["consistency"].item() == pytest.approx(0.143841, abs=1e-5)


def test_the_weight_of_the_paper_has_no_gradient() -> None:
    z = torch.tensor([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1]]).log().requires_grad_()
    log_p = z.log_softmax(-1)
    views = Balance(log_p, log_p, log_p, log_p, z, torch.zeros(2, 2))
    (gradient,) = torch.autograd.grad(losses_of("nla", views, [0])["class"], z)
    # (1 + .96923) / 2 of p - (1, 0, 0)
    assert torch.allclose(gradient[0], 0.984615 * torch.tensor([-0.4, 0.3, 0.1]), atol=1e-5)


def test_nla_shows_the_mirror_image() -> None:
    images = torch.arange(24.0).reshape(1, 3, 2, 4)
    views = load_method("nla").views(images)
    assert torch.equal(views[0], images[0])
    assert torch.equal(views[1], images[0, :, :, [3, 2, 1, 0]])


# SCN


def test_rank_loss() -> None:
    importance = torch.tensor([0.2, 0.9, 0.7, 0.8])
    assert [part.tolist() for part in split_by_importance(importance, 0.5)] == [[1, 3], [2, 0]]
    assert rank_loss(importance, 0.5, 0.15).item() == 0  # .85 - .45 is more than .15
    assert rank_loss(importance, 0.5, 0.5).item() == pytest.approx(0.1)
    assert rank_loss(importance, 0.7, 0.7).item() == pytest.approx(0.3)  # .85 - .45; 2.8 of 4 are 2
    assert [len(split_by_importance(torch.rand(n), 0.7)[0]) for n in (14, 32, 64, 128)] == [9, 22, 44, 89]
    assert [len(part) for part in split_by_importance(importance[:2], 0.99)] == [1, 1]


def test_importance_scales_the_logits_and_at_one_is_a_linear_classifier() -> None:
    head = ImportanceHead(4, 3)
    features = torch.randn(5, 4)
    torch.nn.init.zeros_(head.weigh.weight)
    head.weigh.bias.data.fill_(50.0)
    assert torch.allclose(head(features).logits, head.classify(features))
    head.weigh.bias.data.fill_(0.0)
    assert torch.allclose(head(features).logits, 0.5 * head.classify(features))


def test_labels_are_replaced_where_an_uncertain_sample_is_sure_of_another_class() -> None:
    method = load_method("scn", ScnOptions(high_share=0.5, relabel_epoch=3))
    head = method.build_head(2, 3, anchors=0)
    assert isinstance(head, ImportanceHead)
    torch.nn.init.zeros_(head.weigh.weight)
    head.weigh.weight.data[0, 0] = 1.0
    embedding = torch.tensor([[3.0, 0.0], [2.0, 0.0], [-3.0, 0.0], [-2.0, 0.0]])  # the last two are uncertain
    # Samples 0 and 2 are .6 sure of class 1, 1 and 3 only .15 surer of it than of their label 0.
    balance = balance_of([[0.2, 0.6, 0.2], [0.35, 0.5, 0.15], [0.2, 0.6, 0.2], [0.35, 0.5, 0.15]], embedding)
    targets, positions = torch.eye(3)[[0, 0, 0, 0]], torch.tensor([40, 41, 42, 43])
    for epoch in (1, 2):
        method.losses(TrainingBatch(head, balance, targets, PLAIN, positions, epoch=epoch))
        assert method.state() == {}
    method.losses(TrainingBatch(head, balance, targets, PLAIN, positions, epoch=3))
    assert method.state()["relabeled"].tolist() == [[42, 1]]
    assert method.corrected_targets(targets, positions).argmax(1).tolist() == [0, 0, 0, 0]  # still the same epoch
    method.start_epoch(head, 4, PLAIN)
    assert method.corrected_targets(targets, positions).argmax(1).tolist() == [0, 0, 1, 0]
    again = load_method("scn")
    again.restore(method.state())
    assert again.corrected_targets(targets, positions).argmax(1).tolist() == [0, 0, 1, 0]
    assert targets.argmax(1).tolist() == [0, 0, 0, 0]


def test_the_code_of_scn_relabels_certain_samples_too() -> None:
    method = load_method("scn", ScnOptions(high_share=0.5, relabel_epoch=3, relabel_all=True))
    head = method.build_head(2, 3, anchors=0)
    balance = balance_of([[0.2, 0.6, 0.2], [0.35, 0.5, 0.15], [0.2, 0.6, 0.2], [0.35, 0.5, 0.15]])
    targets, positions = torch.eye(3)[[0, 0, 0, 0]], torch.tensor([40, 41, 42, 43])
    method.losses(TrainingBatch(head, balance, targets, PLAIN, positions, epoch=3))
    assert method.state()["relabeled"].tolist() == [[40, 1], [42, 1]]


def test_the_losses_of_scn_are_added() -> None:
    # importance .5 for all: rank loss .15; cross-entropy -ln .6
    head = ImportanceHead(2, 3)
    torch.nn.init.zeros_(head.weigh.weight)
    torch.nn.init.zeros_(head.weigh.bias)
    batch = TrainingBatch(head, balance_of([[0.6, 0.3, 0.1]] * 4), torch.eye(3)[[0] * 4], PLAIN, torch.arange(4))
    losses = load_method("scn").losses(batch)
    assert losses["class"].item() == pytest.approx(-math.log(0.6))
    assert losses["rank"].item() == pytest.approx(0.15)


def test_labels_must_be_replaced_within_the_training() -> None:
    for epoch, epochs in ((10, 10), (12, 10)):
        with pytest.raises(InputError, match=f"relabel_epoch is {epoch}, and the training has {epochs} epochs"):
            load_method("scn", ScnOptions(relabel_epoch=epoch)).adapt(TrainSettings(epochs=epochs))
    assert load_method("scn", ScnOptions(relabel_epoch=9)).adapt(PLAIN) == PLAIN
    # By default it is the 10th of 70 epochs, and as early in others.
    for epochs, first in ((70, 10), (14, 2), (2, 1)):
        method = load_method("scn")
        head = method.build_head(2, 3, anchors=0)
        batch = (head, balance_of([[0.2, 0.6, 0.2]] * 4), torch.eye(3)[[0] * 4])
        for epoch in range(1, epochs + 1):
            settings = TrainSettings(label_smoothing=0.0, epochs=epochs)
            method.losses(TrainingBatch(*batch, settings, torch.arange(4), epoch=epoch))
            if method.state():
                break
        assert epoch == first


# RUL


def test_the_less_certain_of_two_has_the_larger_share() -> None:
    mean = torch.tensor([[0.0, 4.0], [8.0, 0.0]])
    uncertainty = torch.tensor([[1.0], [3.0]])
    mixed = mix(mean, uncertainty, torch.tensor([1, 0]))
    assert mixed.tolist() == [[6.0, 1.0], [6.0, 1.0]]  # 1/4 of 0 and 3/4 of 8; 1/4 of 4
    assert torch.equal(mix(mean, uncertainty, torch.tensor([0, 1])), mean)


def test_the_uncertainty_is_one_number_per_sample() -> None:
    head = UncertaintyHead(2, 3, width=2)
    head.log_uncertainty = torch.nn.Identity()  # type: ignore[assignment]
    # (e^0 + e^ln 3) / 2 = 2, (4 + 8) / 2 = 6
    found = head.uncertainty(torch.tensor([[1.0, 3.0], [4.0, 8.0]]).log())
    assert found.flatten().tolist() == pytest.approx([2.0, 6.0])


def test_rul_as_a_whole_by_hand() -> None:
    """Features 0 and 2 become -1 and 1 in every norm; the logarithms of uncertainty are -1 and 1, too."""
    head = UncertaintyHead(1, 2, width=1)
    norm, linear = head.mean[0], head.mean[2]
    assert isinstance(norm, torch.nn.BatchNorm1d)
    for layer, weight, bias in ((linear, 3.0, 5.0), (head.log_uncertainty[2], 1.0, 0.0)):
        assert isinstance(layer, torch.nn.Linear)
        torch.nn.init.constant_(layer.weight, weight)
        torch.nn.init.constant_(layer.bias, bias)
    head.classify.weight.data.copy_(torch.tensor([[1.0], [0.0]]))
    torch.nn.init.zeros_(head.classify.bias)
    method = load_method("rul", RulOptions(branch_dropout=0.0))
    method.set_up(head, PLAIN)
    features, targets = torch.tensor([[0.0], [2.0]]), torch.eye(2)
    found = set()
    for seed in range(8):
        torch.manual_seed(seed)  # the partner is the other sample, or the sample itself
        norm.reset_running_stats()
        batch = TrainingBatch(head, head(features), targets, PLAIN, torch.arange(2), features=features)
        found.add(round(method.losses(batch)["class"].item(), 4))
        assert norm.running_mean is not None
        assert norm.running_mean.item() == pytest.approx(0.1)  # the branch runs once per step
    # mixtures tanh(1) = .76159 in both rows: (.38317 + 1.14476) / 2; by themselves ln(1 + e) = 1.31326
    assert found == {0.7640, 1.3133}
    assert head(features).embedding.flatten().tolist() == pytest.approx([-1, 1], abs=1e-4)


def test_the_classifier_of_rul_may_learn_faster() -> None:
    method = load_method("rul", RulOptions(classifier_rate=10.0))
    head = method.build_head(4, 3, anchors=0)
    assert isinstance(head, UncertaintyHead)
    rates = method.rates(head, TrainSettings(head_rate=0.5))
    by_name = {name: rates[parameter] for name, parameter in head.named_parameters()}
    assert by_name["classify.weight"] == 5.0
    assert by_name["mean.2.weight"] == 0.5


# TCL

CENTERS = torch.tensor([[1.0, 0.0], [0.0, 3.0], [2.0, 2.0]])
ORIGIN = torch.zeros(1, 2)


@pytest.mark.parametrize(
    ("negatives", "surest", "expected"),
    [
        ("predicted", 2, [2.0, 2.0]),
        ("predicted", 1, [0.0, 3.0]),
        ("synthesized", 2, [0.0, 2.0]),  # by dimension the nearest of (0, 2) and of (3, 2)
        ("semi-synthesized", 2, [2.0, 2.0]),
        ("semi-synthesized", 1, [0.0, 2.0]),
        ("nearest", 1, [2.0, 2.0]),  # 8 away, where (0, 3) is 9 away
    ],
)
def test_the_three_choices_of_negatives(negatives: str, surest: int, expected: list[float]) -> None:
    log_p = torch.zeros(1, 3)
    log_p[0, surest] = 1.0
    log_p[0, 0] = 2.0  # the own class is never a negative
    chosen = choose_negatives(ORIGIN, CENTERS, log_p, torch.tensor([0]), TclOptions(negatives=negatives))
    assert chosen.tolist() == [expected]


def test_the_triplet_loss() -> None:
    # own: 1/2 (1 + 0) = .5; the negative (2, 2): 1/2 (4 + 4) = 4; with margin 5: .5 + 5 - 4 = 1.5, times .1
    method = load_method("tcl", TclOptions(attention=False))
    head = method.build_head(2, 3, anchors=0)
    assert isinstance(head, CenterHead)
    head.centers.data.copy_(CENTERS)
    balance = balance_of([[0.2, 0.3, 0.5]], ORIGIN)
    losses = method.losses(TrainingBatch(head, balance, torch.eye(3)[[0]], PLAIN, torch.arange(1)))
    assert losses["triplet"].item() == pytest.approx(0.15)
    assert losses["class"].item() == pytest.approx(-math.log(0.2))
    far = load_method("tcl", TclOptions(attention=False, margin=3.0))  # the negative is far enough
    assert far.losses(TrainingBatch(head, balance, torch.eye(3)[[0]], PLAIN, torch.arange(1)))["triplet"].item() == 0


def test_selective_attention_weights_the_distance() -> None:
    head = CenterHead(2, 3)
    for layer in (head.gate_dimensions, head.gate_places):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    assert head.attention(ORIGIN, None).tolist() == [[1.0, 1.0]]
    maps = torch.randn(1, 9, 2)
    assert torch.allclose(head.attention(ORIGIN, maps), torch.ones(1, 2))  # nothing is selected
    assert head.attention(ORIGIN, torch.randn(1, 9, 5)).tolist() == [[1.0, 1.0]]  # a map of another width
    head.gate_dimensions.bias.data.copy_(torch.tensor([math.log(3), -math.log(3)]))  # gates of 3/4 and 1/4
    assert head.attention(ORIGIN, None).tolist() == [pytest.approx([1.5, 0.5])]
    torch.nn.init.zeros_(head.gate_dimensions.bias)
    head.gate_places.weight.data[0, 0] = 50.0  # places that are active in the first dimension count alone
    gates = head.attention(ORIGIN, torch.tensor([[[9.0, -9.0], [-9.0, 9.0]]]))
    assert gates[0, 0] > 1.95
    assert gates[0, 1] < 0.05
    assert half_squared(CENTERS[:1], CENTERS[2:], torch.tensor([[1.0, 0.5]])).item() == pytest.approx(0.5 * (1 + 2))


# RAN


def test_regions_are_the_whole_face_and_five_crops_at_its_size() -> None:
    x = torch.zeros(2, 3, 40, 40)
    x[:, :, :, :10] = 1.0  # the left quarter
    regions = Regions()(x)
    assert regions.shape == (2, 6, 3, 40, 40)
    assert torch.equal(regions[:, 0], x)
    means = regions.mean((2, 3, 4))[0]
    assert means.tolist() == pytest.approx([0.25, 1 / 3, 0.0, 5 / 30, 8 / 36, 7 / 34], abs=0.01)


def test_equal_regions_weigh_the_same() -> None:
    head = RegionHead(2, 3)
    features = torch.tensor([[1.0, -2.0]]).expand(1, 6, 2)
    assert torch.allclose(head.summary(features), torch.tensor([[1.0, -2.0, 1.0, -2.0]]), atol=1e-6)


def test_attention_by_hand() -> None:
    # weights .5 and sigmoid(ln 3) = .75: the whole is (.5 * 0 + .75 * 1) / 1.25 = .6; relation adds nothing
    head = RegionHead(1, 3)
    torch.nn.init.zeros_(head.relate.weight)
    torch.nn.init.constant_(head.attend.weight, math.log(3))
    torch.nn.init.zeros_(head.attend.bias)
    features = torch.tensor([[[0.0], [1.0]]])
    assert head.weights(features).flatten().tolist() == pytest.approx([0.5, 0.75])
    assert head.summary(features).flatten().tolist() == pytest.approx([0.6, 0.6])


def test_regions_are_weighed_even_if_all_weights_are_next_to_zero() -> None:
    # sigmoid(z) is e^z where z is far below zero: weights of 1 to 3, which float32 cannot represent themselves
    head = RegionHead(1, 3)
    for layer, bias in ((head.attend, -200.0), (head.relate, -300.0)):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.constant_(layer.bias, bias)
    torch.nn.init.constant_(head.attend.weight, math.log(3))
    features = torch.tensor([[[0.0], [1.0]]])
    assert head.summary(features).flatten().tolist() == pytest.approx([0.75, 0.75], abs=1e-4)


def test_attention_in_the_form_of_the_code_by_hand() -> None:
    # crops 2 and 0 beside the whole face 1: sigmoids .8808, .5, .7311, whose softmax is .3930, .2686, .3384
    head = RegionHead(1, 3, "code")
    for layer in (head.attend, head.relate):
        torch.nn.init.ones_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    features = torch.tensor([[[2.0], [0.0], [1.0]]])
    assert head.weights(features).flatten().tolist() == pytest.approx([0.3930, 0.2686, 0.3384], abs=1e-4)
    assert head.summary(features).flatten().tolist() == pytest.approx([1.1870, 1.1245], abs=1e-4)
    head.form = "paper"
    assert head.summary(features).flatten().tolist() == pytest.approx([1.2457, 1.1803], abs=1e-4)


def test_region_loss() -> None:
    weights = torch.tensor([[0.5, 0.4, 0.51], [0.5, 0.9, 0.1]])  # .02 - .01 = .01, and 0
    assert region_loss(weights, 0.02).item() == pytest.approx(0.005)


# Options


def test_options_are_split_from_settings_and_checked() -> None:
    options, others = assign(NlaOptions(), ["form=code", "epochs=3", "class-share=0.7"])
    assert options == NlaOptions(form="code", class_share=0.7)
    assert others == ["epochs=3"]
    with pytest.raises(InputError, match="form is 'poem'. Allowed: paper, code."):
        read_options("nla", {"form": "poem"})
    with pytest.raises(InputError, match="class_share is 2.0. Allowed: 0 to 1."):
        assign(NlaOptions(), ["class_share=2"])
    with pytest.raises(UnsupportedError, match="option 'form' of the method 'poster' is not known. Allowed: none."):
        read_options("poster", {"form": "code"})


def test_the_negatives_of_tcl_are_ordered_by_their_distance() -> None:
    """Coordinates chosen one by one are nearest, then the nearest center, then the one that is predicted."""
    torch.manual_seed(0)
    features, centers, labels = torch.randn(50, 6), torch.randn(4, 6), torch.randint(0, 4, (50,))
    log_p = torch.randn(50, 4).log_softmax(-1)
    away = [
        half_squared(features, choose_negatives(features, centers, log_p, labels, TclOptions(negatives=each)), 1.0)
        for each in ("synthesized", "nearest", "predicted")
    ]
    assert (away[0] <= away[1] + 1e-6).all()
    assert (away[1] <= away[2] + 1e-6).all()
    # f = (1, 2, 0) with centers (0, 2, 0), (2, 0, 1), (-1, 3, 3) and p = (.5, .2, .3): 1.5, 3 and 7
    one, three = torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[0.0, 2.0, 0.0], [2.0, 0.0, 1.0], [-1.0, 3.0, 3.0]])
    p = torch.tensor([[0.5, 0.2, 0.3]]).log()
    for negatives, expected in (("synthesized", 1.5), ("nearest", 3.0), ("predicted", 7.0), ("semi-synthesized", 3.0)):
        options = TclOptions(negatives=negatives)
        chosen = choose_negatives(one, three, p, torch.tensor([0]), options)
        assert half_squared(one, chosen, 1.0).item() == pytest.approx(expected)
