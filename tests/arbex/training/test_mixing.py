"""Mixed images have the targets of what they show."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from arbex.training.mixing import cutmix, mix, mixup

TARGETS = torch.eye(4)


def images() -> torch.Tensor:
    """Four images, each of one value: 0, 1, 2 and 3."""
    return torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 8, 8)


@given(share=st.floats(0, 1), seed=st.integers(0, 100))
def test_the_target_of_a_blend_says_how_much_of_each_image_is_in_it(share: float, seed: int) -> None:
    torch.manual_seed(seed)
    mixed, targets = mixup(images(), TARGETS, share)
    assert torch.allclose(targets.sum(1), torch.ones(4))
    shown = (targets * torch.arange(4.0)).sum(1)
    assert torch.allclose(mixed.mean((1, 2, 3)), shown, atol=1e-5)


@given(share=st.floats(0, 1), seed=st.integers(0, 100))
def test_the_target_of_a_collage_says_how_much_area_each_image_has(share: float, seed: int) -> None:
    torch.manual_seed(seed)
    original = images()
    mixed, targets = cutmix(original, TARGETS, share)
    assert torch.allclose(targets.sum(1), torch.ones(4))
    for one, target in zip(mixed, targets, strict=True):
        area = torch.stack([(one[0] == value).float().mean() for value in range(4)])
        assert torch.allclose(area, target, atol=1e-6)
    assert torch.equal(original, images())


def test_both_ways_take_turns_and_neither_changes_nothing() -> None:
    torch.manual_seed(0)
    untouched, targets = mix(images(), TARGETS, mixup_alpha=0, cutmix_alpha=0)
    assert torch.equal(untouched, images())
    assert torch.equal(targets, TARGETS)
    blended = 0
    for _ in range(40):
        mixed, _ = mix(images(), TARGETS, mixup_alpha=1.0, cutmix_alpha=1.0)
        blended += bool((mixed != mixed.round()).any())
    assert 5 < blended < 35
