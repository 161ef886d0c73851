"""What the manifest says of an int8 file's work is what the file holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from arbex.checkpoint import load_run
from arbex.provenance import Elementwise, Recipe
from export.census import (
    IN_HEAD,
    NO_KERNEL,
    PRODUCT,
    STEM,
    list_layers,
    take_census,
)
from export.elementwise import ACCELERATED, REASONS, count_values, list_elementwise
from export.formats.onnx_graph import onnx_operators, onnx_runtime_operators
from export.operators import Operator
from export.programs import Programs, Variant
from export.registry import WRITERS
from export.trace import trace
from quantize.program import prepare
from quantize.recipe import ACCELERATOR, CPU, FLOAT
from runtimes import open_bundle
from tests.programs import tiny_model


class NormFirst(nn.Module):
    """A batch norm that cannot be folded, and a PReLU between convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.prelu = nn.BatchNorm2d(4), nn.PReLU(4)
        self.first, self.second = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(self.prelu(self.first(self.norm(x))))
        return out


FILES = {"cpu": "onnx", "android": "tflite", "jetson": "onnx", "iphone": "mlpackage", "rtx": "rtx-engine"}


@pytest.mark.parametrize("target", FILES)
def test_every_target_computes_its_layers_in_integers(bundles: Path, target: str) -> None:
    bundle = open_bundle(bundles / target)
    artifact = next(a for a in bundle.manifest.artifacts if a.precision == "int8" and a.format == FILES[target])
    work = artifact.work
    assert work is not None
    assert 0.9 < work.int8_share < 1
    assert work.int8_macs + sum(i.macs for i in work.islands) == work.macs
    reasons = {i.reason: i for i in work.islands}
    assert set(reasons) == {IN_HEAD, STEM, PRODUCT}
    assert reasons[STEM].operators == 2
    assert {path.partition(".")[0] for path in reasons[IN_HEAD].modules} == {"head"}


def test_floats_carry_no_such_record(bundles: Path) -> None:
    assert not open_bundle(bundles / "cpu").find("fp32").work


def operators_in(path: Path, format_name: str, recipe: Recipe = CPU) -> list[Operator]:
    """Returns the operators that the writer of a format reads back from a file."""
    variant = Variant("int8", False, recipe, Programs(None))  # type: ignore[arg-type]  # only the recipe matters
    return WRITERS[format_name].read_operators(path, variant)


@pytest.mark.parametrize(("target", "format_name"), [("cpu", "onnx"), ("android", "tflite"), ("iphone", "mlpackage")])
def test_a_float_file_holds_nothing_in_integers(bundles: Path, target: str, format_name: str) -> None:
    bundle = open_bundle(bundles / target)
    found = operators_in(bundle.file(bundle.find("fp32")), format_name, ACCELERATOR)
    assert len(found) == 18
    assert not any(operator.int8 for operator in found)


def test_a_layer_that_the_runtime_left_in_float_is_named(run: Path, bundles: Path) -> None:
    layers = list_layers(trace(load_run(run)).program)
    found = operators_in(bundles / "android/artifacts/model.int8.tflite", "tflite")
    place = next(i for i, operator in enumerate(found) if operator.int8 and len(operator.weight) == 4)
    found[place] = Operator(found[place].weight, int8=False)
    census = take_census(layers, CPU, found)
    (island,) = (i for i in census.islands if i.reason == NO_KERNEL)
    assert island.operators == 1
    assert island.modules[0].startswith("encoder")


def test_what_onnx_runtime_does_not_fuse_counts_as_float(bundles: Path) -> None:
    """In files for a Jetson, only inputs are int8, which ONNX Runtime does not fuse on x86."""
    path = bundles / "jetson/artifacts/model.int8.onnx"
    in_file, in_runtime = onnx_operators(path), onnx_runtime_operators(path)
    assert len(in_file) == len(in_runtime) == 18
    assert sum(o.int8 for o in in_file) == 12
    assert not any(o.int8 for o in in_runtime)


def test_a_file_without_any_operator_has_no_share(run: Path) -> None:
    census = take_census(list_layers(trace(load_run(run)).program), ACCELERATOR, [])
    assert census.int8_macs == 0


def elementwise(folded: GraphModule, recipe: Recipe) -> tuple[Elementwise, ...]:
    return list_elementwise(folded, count_values(folded), recipe)


def test_what_computes_in_float_between_layers_is_counted() -> None:
    """In POSTER++, ReLUs and additions of the backbones are in int8, and all around the transformer is in float."""
    folded = prepare(trace(tiny_model()).program, FLOAT)
    on_cpu = {row.operator: row for row in elementwise(folded, CPU)}
    assert {"layer_norm", "add", "mul", "avg_pool2d"} <= set(on_cpu)
    assert not {"relu", "relu_", "batch_norm"} & set(on_cpu)
    on_jetson = {row.operator: row for row in elementwise(folded, ACCELERATOR)}
    assert on_jetson["add"].operators > on_cpu["add"].operators
    assert {row.reason for row in on_jetson.values()} == {ACCELERATED}


def test_the_prelus_and_leading_norms_of_irse_are_named() -> None:
    """PReLU(BN(x)) of 4 channels at 8 x 8 between two convolutions: 256 values each."""
    folded = prepare(torch.export.export(NormFirst().eval(), (torch.zeros(1, 4, 8, 8),)).module(), FLOAT)
    rows = elementwise(folded, CPU)
    assert [(row.operator, row.operators, row.values) for row in rows] == [("batch_norm", 1, 256), ("prelu", 1, 256)]
    assert [row.reason for row in rows] == [REASONS["batch_norm"], REASONS["prelu"]]


def test_inspect_shows_share_and_reasons(bundles: Path) -> None:
    command = [sys.executable, "-m", "arbex", "inspect", str(bundles / "cpu")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "of multiply-adds in int8; in float:" in shown
    assert "2 operators: a stem" in shown
    assert "between the layers, in thousands of values per image:" in shown
    told = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    assert [a["work"] is not None for a in told["artifacts"]] == [False, True]
