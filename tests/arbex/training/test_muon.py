"""Muon on kernels, beside AdamW: against torch's own optimizers on the same numbers."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from arbex.settings import TrainSettings
from arbex.training.muon import ADJUSTMENT, MuonWithAdamW, dense_weights
from arbex.training.optimization import make_optimizer

RATE, DECAY = 0.01, 0.1
SETTINGS = TrainSettings(optimizer="muon", learning_rate=RATE, weight_decay=DECAY)


def encoder() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, groups=8, bias=False),  # depthwise: a vector per channel, no matrix
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 6),
    )


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(encoder(), nn.Linear(6, 4))


def step(net: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor) -> None:
    optimizer.zero_grad()
    net(images).square().sum().backward()
    optimizer.step()


def images(number: int) -> Tensor:
    return torch.randn(5, 3, 12, 12, generator=torch.Generator().manual_seed(number))


def test_it_changes_each_weight_as_the_optimizer_that_is_meant_for_it() -> None:
    net = model()
    kernel, depthwise, linear, head = (m.weight for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear))
    optimizer = make_optimizer(net, dense_weights(net[0]), SETTINGS)
    flat = nn.Parameter(kernel.detach().flatten(1).clone())
    matrix = nn.Parameter(linear.detach().clone())
    others = [nn.Parameter(w.detach().clone()) for w in (depthwise, head)]
    muon = torch.optim.Muon([flat, matrix], lr=RATE, weight_decay=DECAY, adjust_lr_fn=ADJUSTMENT)
    adamw = torch.optim.AdamW(others, lr=RATE, weight_decay=DECAY)
    for number in range(3):
        step(net, optimizer, images(number))
        assert kernel.grad is not None
        flat.grad, matrix.grad = kernel.grad.flatten(1), linear.grad
        for other, weight in zip(others, (depthwise, head), strict=True):
            other.grad = weight.grad
        muon.step()  # type: ignore[no-untyped-call]
        adamw.step()
    torch.testing.assert_close(kernel.flatten(1), flat, rtol=0, atol=1e-6)
    torch.testing.assert_close(linear, matrix, rtol=0, atol=1e-6)
    torch.testing.assert_close([depthwise, head], others, rtol=0, atol=1e-6)


def test_every_parameter_has_one_optimizer() -> None:
    net = model()
    optimizer = make_optimizer(net, dense_weights(net[0]), SETTINGS)
    found = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(found) == sorted(id(p) for p in net.parameters())
    assert isinstance(optimizer, MuonWithAdamW)
    assert len(optimizer.weights) == len(dense_weights(net[0])) == 2


def test_the_order_of_memory_changes_nothing_but_rounding() -> None:
    plain, channels_last = model(), model()
    channels_last.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    first, second = (make_optimizer(net, dense_weights(net[0]), SETTINGS) for net in (plain, channels_last))
    for number in range(3):
        step(plain, first, images(number))
        step(channels_last, second, images(number).contiguous(memory_format=torch.channels_last))
    for one, other in zip(plain.parameters(), channels_last.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-3)  # Muon multiplies in bfloat16


def test_weights_that_move_after_the_optimizer_was_made_are_still_changed() -> None:
    """Fabric moves a model to its device after the optimizer was made, which gives every weight other memory."""
    net = model()
    optimizer = make_optimizer(net, dense_weights(net[0]), SETTINGS)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for parameter in net.parameters():
        parameter.data = parameter.data.clone()
    before = deepcopy(net.state_dict())
    step(net, optimizer, images(0))
    assert all(not torch.equal(p, before[name]) for name, p in net.named_parameters() if p.ndim > 1)


def test_learning_rates_of_the_groups_reach_both_parts() -> None:
    net = model()
    before = deepcopy(net.state_dict())
    optimizer = make_optimizer(net, dense_weights(net[0]), SETTINGS)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    step(net, optimizer, images(0))
    assert all(torch.equal(p, before[name]) for name, p in net.named_parameters())


def test_a_restored_optimizer_goes_on_exactly() -> None:
    one = model()
    optimizer = make_optimizer(one, dense_weights(one[0]), SETTINGS)
    step(one, optimizer, images(0))
    other = deepcopy(one)
    restored = make_optimizer(other, dense_weights(other[0]), SETTINGS)
    state = optimizer.state_dict()
    indices = [i for group in state["param_groups"] for i in group["params"]]
    assert indices == list(range(len(list(one.parameters()))))
    restored.load_state_dict(deepcopy(state))
    for net, own in ((one, optimizer), (other, restored)):
        step(net, own, images(1))
    for first, second in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(first, second)
