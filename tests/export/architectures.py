"""Three architectures of ``transformers`` and POSTER++ in small, as modules from images to vectors, and wrong ones."""

from __future__ import annotations

from torch import Tensor, nn
from transformers import ConvNextConfig, ConvNextModel, MobileViTConfig, MobileViTModel, ViTConfig, ViTModel

from arbex.models import Encoder
from tests.programs import SMALL_POSTER


class Pooled(nn.Module):
    """A model's pooled output, normalized over the batch so that random weights distinguish images."""

    def __init__(self, model: nn.Module, features: int) -> None:
        super().__init__()
        self.model = model
        self.norm = nn.BatchNorm1d(features)

    def forward(self, images: Tensor) -> Tensor:
        vector: Tensor = self.norm(self.model(images).pooler_output)
        return vector


def vit() -> nn.Module:
    config = ViTConfig(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        image_size=64,
        patch_size=16,
        initializer_range=0.2,
    )
    return Pooled(ViTModel(config), 64)


def convnext() -> nn.Module:
    config = ConvNextConfig(hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 2, 1], image_size=64, initializer_range=0.2)
    return Pooled(ConvNextModel(config), 64)


def mobilevit() -> nn.Module:
    config = MobileViTConfig(
        hidden_sizes=[16, 24, 32],
        neck_hidden_sizes=[8, 8, 16, 16, 24, 32, 64],
        num_attention_heads=4,
        expand_ratio=1.0,
        image_size=64,
    )
    model = MobileViTModel(config)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)  # its own initial weights are so small that the output is constant
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    return Pooled(model, 64)


def poster() -> nn.Module:
    return Encoder(SMALL_POSTER)


def no_vector() -> nn.Module:
    return nn.Conv2d(3, 4, 3)


def no_module() -> str:
    return "a module"


def pixel_means() -> nn.Module:
    return nn.Sequential(nn.AvgPool2d(8), nn.Flatten())
