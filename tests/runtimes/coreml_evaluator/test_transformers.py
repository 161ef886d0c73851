"""Packages that coremltools makes of models that are not ours, by its defaults: three of transformers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import (
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
    SwinConfig,
    SwinForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from runtimes.coreml_evaluator.program import Program

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # coremltools imports ExecuTorch where it is installed, which warns
    import coremltools as ct

pytestmark = pytest.mark.lab

SIDE, CLASSES = 224, 8


class Logits(nn.Module):
    """A classifier of images as a function of one tensor."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(pixel_values=images).logits
        return logits


def vit() -> PreTrainedModel:
    config = ViTConfig(num_hidden_layers=4, hidden_size=192, num_attention_heads=3, intermediate_size=768)
    config.num_labels = CLASSES
    return ViTForImageClassification(config)


def swin() -> PreTrainedModel:
    config = SwinConfig(embed_dim=48, depths=[2, 2, 2, 2], num_heads=[2, 4, 8, 16])
    config.num_labels = CLASSES
    return SwinForImageClassification(config)


def resnet() -> PreTrainedModel:
    config = ResNetConfig(hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic")
    config.num_labels = CLASSES
    return ResNetForImageClassification(config)


def package(model: nn.Module, example: Tensor, precision: str, path: Path) -> Path:
    """Writes a package with coremltools' own defaults for a precision, and returns its folder."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(model, (example,)).run_decompositions({})
        converted = ct.convert(
            exported,
            minimum_deployment_target=ct.target.iOS17,
            compute_precision=ct.precision.FLOAT16 if precision == "fp16" else ct.precision.FLOAT32,
            skip_model_load=True,
        )
    converted.save(str(path))
    return path


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("make", [vit, swin, resnet], ids=lambda make: make.__name__)
def test_a_model_of_transformers_evaluates_as_in_torch(
    make: Callable[[], PreTrainedModel], precision: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = Logits(make()).eval()
    image = torch.randn(1, 3, SIDE, SIDE)
    with torch.no_grad():
        expected = model(image).numpy()
    assert np.abs(expected).max() > 0.05
    program = Program.load(package(model, image, precision, tmp_path / "m.mlpackage"), precision)
    (name,) = program.images or program.shapes
    (found,) = program.run({name: image.numpy()}).values()
    error = np.abs(found - expected).max()
    print(f"{make.__name__} {precision}: largest error {error:.1e} of {np.abs(expected).max():.2f}")
    assert error <= 1e-3
