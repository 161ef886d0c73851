"""Packages that coremltools makes of PyTorch modules evaluate to what PyTorch computes."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from runtimes.coreml_evaluator.program import Program
from tests.runtimes.coreml_evaluator.converting import convert

pytestmark = pytest.mark.slow


class Calling(nn.Module):
    """A module that calls a function."""

    def __init__(self, function: Callable[..., Tensor | tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.function(*inputs)


IMAGE, ROWS, VECTORS = (2, 6, 9, 7), (2, 5, 8), (4, 6)

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "conv1d": (nn.Conv1d(5, 4, 3, padding=1, stride=2), ROWS),
    "conv2d": (nn.Conv2d(6, 4, (3, 2), padding=(2, 1), stride=(2, 1)), IMAGE),
    "conv2d-dilated": (nn.Conv2d(6, 4, 3, dilation=2, bias=False), IMAGE),
    "conv2d-same": (nn.Conv2d(6, 4, 4, padding="same"), IMAGE),
    "conv2d-groups": (nn.Conv2d(6, 12, 3, groups=3), IMAGE),
    "conv2d-depthwise": (nn.Conv2d(6, 6, 3, groups=6, padding=1), IMAGE),
    "conv3d": (nn.Conv3d(3, 4, 2, stride=2), (1, 3, 4, 6, 5)),
    "transposed": (nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1), IMAGE),
    "transposed-groups": (nn.ConvTranspose2d(6, 4, 3, groups=2, dilation=2), IMAGE),
    "linear": (nn.Linear(8, 3), ROWS),
    "batch-norm": (nn.BatchNorm2d(6), IMAGE),
    "instance-norm": (nn.InstanceNorm2d(6, affine=True), IMAGE),
    "layer-norm": (nn.LayerNorm((5, 8)), ROWS),
    "group-norm": (nn.GroupNorm(3, 6), IMAGE),
    "max-pool": (nn.MaxPool2d(3, 2, padding=1), IMAGE),
    "max-pool-ceil": (nn.MaxPool2d(2, 2, ceil_mode=True), IMAGE),
    "mean-pool": (nn.AvgPool2d(3, 2, padding=1), IMAGE),
    "mean-pool-inside": (nn.AvgPool2d(3, 2, padding=1, count_include_pad=False), IMAGE),
    "mean-pool-ceil": (nn.AvgPool2d(3, 2, ceil_mode=True), IMAGE),
    "mean-pool-1d": (nn.AvgPool1d(2), ROWS),
    "adaptive": (nn.AdaptiveAvgPool2d(1), IMAGE),
    "prelu": (nn.PReLU(6), IMAGE),
    "elu": (nn.ELU(0.7), ROWS),
    "gelu": (nn.GELU(), ROWS),
    "gelu-tanh": (nn.GELU("tanh"), ROWS),
    "silu": (nn.SiLU(), ROWS),
    "softplus": (nn.Softplus(), ROWS),
    "hard-sigmoid": (nn.Hardsigmoid(), ROWS),
    "hard-swish": (nn.Hardswish(), ROWS),
    "leaky-relu": (nn.LeakyReLU(0.1), ROWS),
    "softmax": (nn.Softmax(1), ROWS),
    "pixel-shuffle": (nn.PixelShuffle(2), (1, 8, 3, 4)),
    "pixel-unshuffle": (nn.PixelUnshuffle(3), (1, 2, 6, 9)),
    "upsampled": (nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False), IMAGE),
    "upsampled-corners": (nn.Upsample(size=(5, 11), mode="bilinear", align_corners=True), IMAGE),
    "upsampled-nearest": (nn.Upsample(scale_factor=3, mode="nearest"), IMAGE),
    "reflected": (nn.ReflectionPad2d((1, 2, 3, 0)), IMAGE),
    "replicated": (nn.ReplicationPad2d((1, 2, 3, 0)), IMAGE),
    "padded": (nn.ConstantPad2d((1, 0, 2, 3), 0.5), IMAGE),
    "embedding": (
        nn.Sequential(Calling(lambda x: (x.abs() * 3).clamp(max=8).to(torch.int32)), nn.Embedding(9, 4)),
        VECTORS,
    ),
}

FUNCTIONS: dict[str, tuple[Callable[..., Tensor | tuple[Tensor, ...]], tuple[tuple[int, ...], ...]]] = {
    "attention": (functional.scaled_dot_product_attention, ((1, 2, 5, 8), (1, 2, 7, 8), (1, 2, 7, 8))),
    "einsum": (lambda x, y: torch.einsum("bij,bjk->bik", x, y), ((2, 3, 4), (2, 4, 5))),
    "matmul": (lambda x, y: x @ y.mT, (ROWS, ROWS)),
    "arithmetic": (lambda x, y: (x * y - x) / (y.abs() + 1) + torch.maximum(x, y).square(), (ROWS, ROWS)),
    "functions": (lambda x: torch.exp(x.sin()) + (x.abs() + 1).log() + (x.square() + 1).rsqrt() + x.erf(), (ROWS,)),
    "rounding": (lambda x: (3 * x).floor() + (3 * x).ceil() + (3 * x).round() + x.sign() + (5 * x) % 2, (ROWS,)),
    "comparisons": (lambda x, y: torch.where(torch.logical_or(x > y, y >= 1), x, y), (ROWS, ROWS)),
    "reductions": (lambda x: (x.sum(1), x.mean((0, 2)), x.amax(-1), x.amin(0), x.norm(dim=1)), (ROWS,)),
    "products": (lambda x: (x.logsumexp(1), x.var(1), x.cumsum(2)), (ROWS,)),
    "largest": (lambda x: (x.argmax(1), x.topk(3, 2).values, x.argsort(1)), (ROWS,)),
    "shapes": (lambda x: x.permute(2, 0, 1).reshape(4, -1).unsqueeze(1).flatten(0, 1).squeeze(), (ROWS,)),
    "joined": (lambda x, y: torch.stack([torch.cat([x, y], 1), torch.cat([y, x], 1)]), (ROWS, ROWS)),
    "split": (lambda x: x.split([2, 3], 1)[1] + x.chunk(2, 1)[0][:, :1], (ROWS,)),
    "sliced": (lambda x: x[:, 1:4:2, -3:] + x[:1, :2, :3], (ROWS,)),
    "gathered": (lambda x: x.gather(1, (x[:, :2].abs() * 2).clamp(max=4).long()), (ROWS,)),
    "selected": (lambda x: x.index_select(2, torch.tensor([7, 0, 3])), (ROWS,)),
    "rolled": (lambda x: torch.roll(x, 2, 1).flip(2), (ROWS,)),
    "repeated": (lambda x: x.repeat(1, 2, 1).tile(1, 1, 2) + torch.full((1,), 2.0), (ROWS,)),
    "triangle": (lambda x: x.tril() + x.triu(1), (ROWS,)),
    "normalized": (lambda x: functional.normalize(x, dim=1), (ROWS,)),
    "clamped": (lambda x: x.clamp(-0.5, 0.5) + functional.relu6(4 * x) + functional.softsign(x), (ROWS,)),
    "one-hot": (lambda x: functional.one_hot((x.abs() * 2).clamp(max=4).long(), 5).float(), (VECTORS,)),
    "sampled": (
        lambda x, y: functional.grid_sample(x, y.tanh(), align_corners=True),
        ((1, 3, 6, 5), (1, 4, 7, 2)),
    ),
}


def answers(module: nn.Module, inputs: tuple[Tensor, ...]) -> list[np.ndarray]:
    """Returns the outputs of a module."""
    with torch.no_grad():
        found = module(*inputs)
    return [x.numpy() for x in (found if isinstance(found, tuple) else (found,))]


def compare(module: nn.Module, shapes: tuple[tuple[int, ...], ...], path: Path) -> None:
    """Asserts that a module's package computes what the module does."""
    inputs = tuple(torch.randn(shape) for shape in shapes)
    program = Program.load(convert(module.eval(), inputs, path))
    found = program.run({f"x{i}": x.numpy() for i, x in enumerate(inputs)})
    for name, expected in zip(program.outputs, answers(module, inputs), strict=True):
        np.testing.assert_allclose(found[name], expected, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str, tmp_path: Path) -> None:
    torch.manual_seed(len(name))
    module, shape = LAYERS[name]
    for parameter in (*module.parameters(), *module.buffers()):
        if parameter.is_floating_point():
            parameter.data.uniform_(0.1, 1.0)
    compare(module, (shape,), tmp_path / "m.mlpackage")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str, tmp_path: Path) -> None:
    torch.manual_seed(len(name))
    function, shapes = FUNCTIONS[name]
    compare(Calling(function), shapes, tmp_path / "m.mlpackage")


def test_normalization_of_pixels_has_no_epsilon(tmp_path: Path) -> None:
    """Converted with all passes of coremltools, pixels are 5e-6 too small."""
    scale, offset = torch.tensor([2.0, 3.0, 4.0]).reshape(1, 3, 1, 1), torch.tensor([0.5, 0, -0.5]).reshape(1, 3, 1, 1)
    x = torch.full((1, 3, 2, 2), 255.0)
    program = Program.load(convert(Calling(lambda x: x * scale + offset), (x,), tmp_path / "m.mlpackage"))
    (found,) = program.run({"x0": x.numpy()}).values()
    assert found[0, :, 0, 0].tolist() == [510.5, 765, 1019.5]


DRAWN = 60
"""Number of modules that are drawn."""


def drawn_convolution(draw: random.Random) -> tuple[nn.Module, tuple[int, ...]]:
    """Returns a convolution with drawn sizes, and the shape of its input."""
    dimensions, groups = draw.choice([1, 2, 2, 3]), draw.choice([1, 1, 2, 3])
    kernel, dilation = draw.randint(1, 4), draw.randint(1, 2)
    sizes = [draw.randint(dilation * (kernel - 1) + 1, dilation * (kernel - 1) + 8) for _ in range(dimensions)]
    channels, outputs = groups * draw.randint(1, 3), groups * draw.randint(1, 3)
    stride, padding = draw.randint(1, 3), draw.randint(0, kernel - 1)
    # coremltools folds a batch norm into the wrong channels of a transposed convolution with groups.
    if dilation == groups == 1 and draw.random() < 0.3:
        transposed: type[nn.Module] = [nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d][dimensions - 1]
        layer = transposed(channels, outputs, kernel, stride=stride, groups=groups, bias=draw.random() < 0.5)
    else:
        plain: type[nn.Module] = [nn.Conv1d, nn.Conv2d, nn.Conv3d][dimensions - 1]
        layer = plain(channels, outputs, kernel, stride, padding, dilation, groups, draw.random() < 0.5)
    return layer, (draw.randint(1, 2), channels, *sizes)


def drawn_tail(draw: random.Random, shape: torch.Size) -> list[nn.Module]:
    """Returns drawn layers for activations of a shape."""
    channels, dimensions = shape[1], len(shape) - 2
    norms = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
    tail: list[nn.Module] = []
    if draw.random() < 0.5:
        others = [nn.GroupNorm(1, channels)] if dimensions < 3 else []  # Core ML has no tensors of six dimensions
        tail.append(draw.choice([norms[dimensions](channels), nn.LayerNorm(shape[-1]), *others]))
    tail.append(draw.choice([nn.ReLU(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Hardswish(), nn.PReLU(channels)]))
    if dimensions == 2 and draw.random() < 0.5:
        size = (draw.randint(2, 9), draw.randint(2, 9))
        aligned = draw.random() < 0.5
        tail.append(nn.Upsample(size=size, mode="bilinear", align_corners=aligned))
    pools = {1: (nn.MaxPool1d, nn.AvgPool1d), 2: (nn.MaxPool2d, nn.AvgPool2d), 3: (nn.MaxPool3d, nn.AvgPool3d)}
    if min(shape[2:]) >= 4 and draw.random() < 0.5:
        tail.append(draw.choice(pools[dimensions])(draw.randint(1, 2), draw.randint(1, 2)))
    return [*tail, nn.Flatten(), Calling(lambda x: x.softmax(-1))]


@pytest.mark.lab
@pytest.mark.parametrize("seed", range(DRAWN))
def test_drawn_modules(seed: int, tmp_path: Path) -> None:
    torch.manual_seed(seed)
    draw = random.Random(seed)
    layer, shape = drawn_convolution(draw)
    module = nn.Sequential(layer, *drawn_tail(draw, layer(torch.zeros(shape)).shape))
    for buffer in module.buffers():
        if buffer.is_floating_point():
            buffer.data.uniform_(0.1, 1.0)
    compare(module, (shape,), tmp_path / "m.mlpackage")
