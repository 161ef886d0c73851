"""What backbones do between layers, in small: every file for CPUs computes the program that it was made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arbex.spec import Preprocessing
from export.layer_forms import unify_layers
from export.programs import Programs
from export.registry import TARGETS, WRITERS
from export.trace import InputStage, TracedModel
from runtimes.quiet_runs import run_quietly
from runtimes.vendor_output import hidden_output
from tests.programs import exported, ranges_of

SIDE, WIDTH = 16, 8
PREPROCESSING = Preprocessing(SIDE)


class Network(nn.Module):
    """A stem, three layers of a kind, and what is done with them; the outputs are those of a model."""

    def __init__(self, forward: Callable[[Network, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.stem, self.compute = nn.Conv2d(3, WIDTH, 3, padding=1), forward
        self.a, self.b = (nn.Conv2d(WIDTH, WIDTH, 3, padding=1) for _ in range(2))
        self.wide = nn.Conv2d(2 * WIDTH, WIDTH, 3, padding=1)
        self.up = nn.ConvTranspose2d(WIDTH, 2 * WIDTH, 2, stride=2, groups=2, bias=False)
        self.same = nn.Conv2d(WIDTH, WIDTH, 4, padding="same")
        self.normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(WIDTH, WIDTH, 3, padding=1))
        self.first, self.second = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.b.weight.data *= torch.logspace(-1, 1, WIDTH).view(-1, 1, 1, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        values = self.compute(self, self.stem(images).relu()).flatten(1)
        return values, values * 1.0, values.sum(1)


def tokens(n: Network, x: Tensor) -> Tensor:
    return n.second(n.first(x.flatten(2).transpose(1, 2)).relu())  # type: ignore[no-any-return]


def twice(n: Network, x: Tensor) -> Tensor:
    y = F.gelu(n.a(x)) + x
    return F.gelu(n.a(y)) + y


NETWORKS: dict[str, tuple[Callable[[Network, Tensor], Tensor], tuple[str, ...]]] = {
    "restored after a movement": (tokens, ("linear",)),
    "restored in a row": (lambda n, x: n.b(n.a(n.a(x).relu()).relu()).relu(), ("conv2d_1", "conv2d_2")),
    "branches of different scales": (lambda n, x: torch.cat([n.a(x).relu(), n.b(x).relu()], 1).mean((2, 3)), ()),
    "dense block": (lambda n, x: n.wide(torch.cat([x, n.b(x).relu()], 1)), ()),
    "overlapping averages": (lambda n, x: F.avg_pool2d(n.a(x).relu(), 3, 2, 1, count_include_pad=False), ()),
    "a layer used twice": (twice, ()),
    "transposed convolution": (lambda n, x: n.wide(n.up(n.a(x).relu()).relu()), ()),
    "padding in words": (lambda n, x: n.a(n.same(x).relu()), ()),
    "relu6 in a row": (lambda n, x: F.relu6(n.a(F.relu6(n.b(x)))), ()),
    "relu6 and sums": (lambda n, x: x + n.a(F.relu6(n.b(F.relu6(n.a(x))))), ()),
    "relu6, restored": (lambda n, x: F.relu6(n.b(F.relu6(n.a(F.relu6(n.b(x)))))), ("conv2d_2",)),
    "clamped": (lambda n, x: F.hardtanh(n.a(F.hardtanh(n.b(x), -0.5, 0.7)), 0.0, 0.3), ()),
    "weight norm": (lambda n, x: n.a(n.normed(x).relu()), ()),
}
"""What is computed after the stem, and which layers a gate would have restored."""


@pytest.fixture(scope="module", params=NETWORKS)
def programs(request: pytest.FixtureRequest) -> Programs:
    """The programs of a network, calibrated on the images of the test."""
    forward, restored = NETWORKS[request.param]
    images = InputStage(nn.Identity(), PREPROCESSING).normalize(torch.as_tensor(pixels()))
    program = unify_layers(exported(Network(forward), images))
    traced = TracedModel(program, ("a", "b"), PREPROCESSING)
    return Programs(traced, ranges_of(program, images), restored)


def pixels() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Returns eight images of noise."""
    return np.random.default_rng(0).integers(0, 256, (8, SIDE, SIDE, 3)).astype(np.uint8)


@pytest.mark.filterwarnings("ignore:Using padding=.same")
@pytest.mark.parametrize(("target", "name"), [("cpu", "onnx"), ("android", "tflite")])
def test_a_file_computes_its_program(programs: Programs, target: str, name: str, tmp_path: Path) -> None:
    variant, path, writer = programs.variant(TARGETS[target], "int8"), tmp_path / f"model.{name}", WRITERS[name]
    with torch.no_grad():
        wanted = variant.with_input(variant.as_kernels_compute())(torch.as_tensor(pixels()))[0].numpy()
    with hidden_output():
        writer.write(variant, path)
    assert writer.format.runtime is not None
    with writer.format.runtime(path, SIDE) as runtime:
        found = run_quietly(runtime, pixels()).corrected
    assert found.shape == wanted.shape
    assert np.linalg.norm(found - wanted) < 1e-4 * np.linalg.norm(wanted)
    work = programs.work(variant.recipe, writer.read_operators(path, variant))
    assert 0 < work.int8_macs < work.macs
