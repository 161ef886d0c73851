"""What the evaluator refuses and what its modes show, on small programs whose results are worked out by hand."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from arbex.errors import BackendError, InputError, UnsupportedError
from runtimes.coreml_evaluator.operations import FAMILIES, OPERATIONS
from runtimes.coreml_evaluator.program import Program
from tests.runtimes.coreml_evaluator.converting import convert

ROOT = Path(__file__).parents[3]
MODEL = "Data/com.apple.CoreML/model.mlmodel"

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import coremltools as ct
    from coremltools.converters.mil import Builder as mb  # noqa: N813
    from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry


def built(function: Callable[[Any], Any], path: Path, *, target: Any = None) -> Path:
    """Writes the package of a program of one input x, float32 [2]."""
    opset = target or ct.target.iOS17
    program = mb.program(input_specs=[mb.TensorSpec(shape=(2,))], opset_version=opset)(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"compute_precision": ct.precision.FLOAT32, "skip_model_load": True}
        ct.convert(program, minimum_deployment_target=opset, **options).save(str(path))
    return path


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of x W^T with W of 20 x 2, large enough to lie in a weight file."""
    layer = nn.Linear(2, 20, bias=False)
    layer.weight.data = torch.arange(40.0).reshape(20, 2)
    return convert(layer, [torch.zeros(1, 2)], tmp_path_factory.mktemp("packages") / "scaled.mlpackage")


def edited(package: Path, tmp_path: Path, edit: Callable[[Any], None]) -> Path:
    """Returns a copy of a package whose specification was changed."""
    from shutil import copytree

    from coremltools.proto import Model_pb2

    copy = Path(copytree(package, tmp_path / "edited.mlpackage"))
    specification = Model_pb2.Model()
    specification.ParseFromString((copy / MODEL).read_bytes())
    edit(specification)
    (copy / MODEL).write_bytes(specification.SerializeToString())
    return copy


def operations_of(specification: Any) -> Any:
    function = specification.mlProgram.functions["main"]
    return function.block_specializations[function.opset].operations


def test_an_unknown_operation_is_named_with_its_op_set_and_inputs(tmp_path: Path) -> None:
    path = built(lambda x: mb.random_normal(shape=mb.shape(x=x)), tmp_path / "m.mlpackage")
    with pytest.raises(UnsupportedError, match=r"'random_normal' of the op set CoreML7 \(inputs: mean, seed, shape"):
        Program.load(path)


def test_an_unknown_input_of_an_operation_is_named(scaled: Path, tmp_path: Path) -> None:
    def rename(specification: Any) -> None:
        (linear,) = (o for o in operations_of(specification) if o.type == "linear")
        linear.inputs["tint"].CopyFrom(linear.inputs["x"])

    with pytest.raises(UnsupportedError, match=r"'linear' cannot be evaluated with the input 'tint'\. Allowed: x, we"):
        Program.load(edited(scaled, tmp_path, rename))


def test_weights_outside_of_the_package_are_not_read(scaled: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(100))

    def point_outside(specification: Any) -> None:
        for operation in operations_of(specification):
            value = operation.attributes["val"]
            if value.WhichOneof("value") == "blobFileValue":
                value.blobFileValue.fileName = "@model_path/../../../secret.bin"

    with pytest.raises(
        BackendError, match=r"'@model_path/\.\./\.\./\.\./secret\.bin', which is not a file of the pack"
    ):
        Program.load(edited(scaled, tmp_path, point_outside))


def test_a_model_outside_of_the_package_is_not_read(scaled: Path, tmp_path: Path) -> None:
    copy = edited(scaled, tmp_path, lambda specification: None)
    manifest = json.loads((copy / "Manifest.json").read_text())
    manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"] = "../../other.mlmodel"
    (copy / "Manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "other.mlmodel").write_bytes((copy / MODEL).read_bytes())
    with pytest.raises(BackendError, match=r"does not hold its model other\.mlmodel"):
        Program.load(copy)


@pytest.mark.parametrize("damage", [b"", b"no protocol buffer" * 9])
def test_a_damaged_model_is_refused(scaled: Path, tmp_path: Path, damage: bytes) -> None:
    copy = edited(scaled, tmp_path, lambda specification: None)
    (copy / MODEL).write_bytes(damage)
    with pytest.raises(BackendError, match=r"cannot be read: model.mlmodel|holds a model of type None"):
        Program.load(copy)


def test_damaged_weights_are_refused(scaled: Path, tmp_path: Path) -> None:
    copy = edited(scaled, tmp_path, lambda specification: None)
    (weights,) = copy.rglob("*.bin")
    weights.write_bytes(bytes(64))
    with pytest.raises(BackendError, match=r"The weights at byte \d+ of @model_path/weights/weight.bin cannot be read"):
        Program.load(copy)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "The inputs are none. Allowed: x0"),
        ({"y": np.zeros((1, 2))}, "The inputs are y. Allowed: x0"),
        ({"x0": np.zeros((1, 3))}, r"'x0' has the shape \[1, 3\]\. Allowed: \[1, 2\]"),
    ],
)
def test_other_inputs_are_refused(scaled: Path, inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Program.load(scaled).run(inputs)


def test_a_precision_or_function_that_is_not_known_is_refused(scaled: Path) -> None:
    with pytest.raises(UnsupportedError, match="'fp64'.*Allowed: fp32, fp16"):
        Program.load(scaled, "fp64")
    with pytest.raises(UnsupportedError, match="'other'.*Allowed: main"):
        Program.load(scaled, function="other")


class Large(nn.Module):
    """Squares and divides by 64, which leaves float16's range on the way from 1,000 to 15,625."""

    def forward(self, x: Tensor) -> Tensor:
        return x.square() / 64


def test_overflow_of_float16_shows(tmp_path: Path) -> None:
    package = convert(Large(), [torch.zeros(2)], tmp_path / "m.mlpackage", half=True)
    x = {"x0": np.array([1000, 8], np.float32)}
    (exact,) = Program.load(package, "fp32").run(x).values()
    (rounded,) = Program.load(package, "fp16").run(x).values()
    assert exact.tolist() == [15625, 1]
    assert rounded.tolist() == [np.inf, 1]


@pytest.mark.parametrize(("layout", "order"), [("RGB", [0, 1, 2]), ("BGR", [2, 1, 0])])
def test_an_image_is_passed_in_the_order_of_its_channels(tmp_path: Path, layout: str, order: list[int]) -> None:
    types = [ct.ImageType(name="x0", shape=(1, 3, 4, 5), color_layout=layout)]
    package = convert(nn.Identity(), [torch.zeros(1, 3, 4, 5)], tmp_path / "m.mlpackage", inputs=types)
    image = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    program = Program.load(package)
    (found,) = program.run({"x0": image}).values()
    assert np.array_equal(found[0], image.transpose(2, 0, 1)[order])
    with pytest.raises(InputError, match=r"\[4, 5\].*Allowed: \[H, W, 3\]"):
        program.run({"x0": image[..., 0]})
    with pytest.raises(InputError, match=r"'x0' has the shape \[1, 3, 3, 5\]\. Allowed: \[1, 3, 4, 5\]"):
        program.run({"x0": image[:3]})


class Counter(nn.Module):
    """Adds its input to a state and returns the sum."""

    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        self.total.add_(x)
        return self.total * 1


def test_states_last_from_run_to_run_until_they_are_reset(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # coremltools takes states from such modules only, which torch has deprecated
        traced = torch.jit.trace(Counter().eval(), torch.zeros(2))  # type: ignore[no-untyped-call]
        ct.convert(
            traced,
            inputs=[ct.TensorType(name="x", shape=(2,))],
            states=[ct.StateType(wrapped_type=ct.TensorType(shape=(2,), dtype=np.float16), name="total")],
            minimum_deployment_target=ct.target.iOS18,
            skip_model_load=True,
        ).save(str(tmp_path / "m.mlpackage"))
    program = Program.load(tmp_path / "m.mlpackage")
    assert program.inputs == ("x",)
    sums = [next(iter(program.run({"x": np.array([1.0, 2.0], np.float32)}).values())).tolist() for _ in range(3)]
    assert sums == [[1, 2], [2, 4], [3, 6]]
    program.reset()
    (again,) = program.run({"x": np.array([5.0, 5.0], np.float32)}).values()
    assert again.tolist() == [5, 5]


def test_a_path_may_be_a_string(scaled: Path) -> None:
    assert Program.load(str(scaled)).outputs == Program.load(scaled).outputs


def test_constants_are_computed_once_and_values_released(scaled: Path) -> None:
    program = Program.load(scaled)
    assert [step.operation.name for step in program.block.steps] == ["linear"]
    assert program.run({"x0": np.ones((1, 2))})["linear"].tolist() == [[float(4 * i + 1) for i in range(20)]]


NOT_COVERED = {"const", "_const_symbolic", "conv_quantized"}
"""Operations of coremltools' registry that no ML program holds: constants are no computation, and the other is only
for the older neural networks."""


def test_every_operation_of_mil_is_covered_except_random_ones() -> None:
    others = {name for name in SSAOpRegistry.core_ops if name not in OPERATIONS} - NOT_COVERED
    assert others == {"random_bernoulli", "random_categorical", "random_normal", "random_uniform"}


def test_the_documentation_lists_every_operation() -> None:
    page = (ROOT / "docs/explanation/coreml-on-linux.md").read_text()
    for family in FAMILIES:
        names = sorted(name for name, known in OPERATIONS.items() if known.function.__module__ == family.__name__)
        title = family.__name__.rpartition(".")[2].replace("_", " ")
        assert f"| {title} | {', '.join(f'`{name}`' for name in names)} |" in page
