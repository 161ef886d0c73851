"""ONNX files for NVIDIA's GPUs are compiled without one, by TensorRT-RTX."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from arbex.cli import invoke
from arbex.errors import BackendError, MissingPackageError
from runtimes import open_bundle
from runtimes.compilation import with_build
from runtimes.engine_builds import nearest_capability, try_build
from runtimes.verification import verify_bundle
from tests.runtimes.miniature import ARTIFACT, SIDE, graph, write_miniature


def test_a_file_is_compiled_into_fewer_kernels_than_it_has_operators(tmp_path: Path) -> None:
    write_miniature(tmp_path)
    build = try_build(tmp_path / ARTIFACT, SIDE, "8.7")
    assert build.compute_capability == "8.6"
    assert build.compiler.startswith("TensorRT-RTX 1.")
    assert 0 < build.kernels < len(graph().graph.node)
    assert build.products == {}


def test_a_product_is_listed_with_the_type_of_its_values(tmp_path: Path) -> None:
    model = graph()
    weight = helper.make_tensor("weight", TensorProto.FLOAT, [3, 3], [1.0, 0, 0, 0, 1, 0, 0, 0, 1])
    model.graph.initializer.append(weight)
    for node in model.graph.node:
        if node.op_type == "Softmax":
            node.input[0] = "mixed"
    model.graph.node.insert(3, helper.make_node("MatMul", ["logits", "weight"], ["mixed"]))
    onnx.save(model, tmp_path / "model.onnx")
    assert try_build(tmp_path / "model.onnx", SIDE, "8.6").products == {"Float": 1}


def test_an_operator_that_it_cannot_compile_is_named(tmp_path: Path) -> None:
    model = graph()
    model.graph.node[3].op_type = "Unheard"
    model.graph.node[3].domain = "unheard.of"
    model.opset_import.append(helper.make_opsetid("unheard.of", 1))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(BackendError, match="cannot read model.onnx: .*Unheard"):
        try_build(tmp_path / "model.onnx", SIDE, "8.6")


@pytest.mark.parametrize(
    ("capability", "nearest"), [("8.7", "8.6"), ("11.0", "8.9"), ("12.1", "12.0"), ("8.0", "8.0"), ("7.2", "8.0")]
)
def test_the_nearest_capability_is_not_above_the_wanted_one(capability: str, nearest: str) -> None:
    assert nearest_capability(capability) == nearest


def test_verify_says_what_the_compiler_makes_of_a_jetson_s_files(
    bundles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["verify", str(bundles / "jetson"), str(bundles / "cpu"), "--json"], "arbex") == 0
    jetson, cpu = json.loads(capsys.readouterr().out)["bundles"]
    full, quantized = (row["build"] for row in jetson["artifacts"])
    assert full["products"].keys() == {"Float"}
    assert quantized["products"]["Int8"] == 12  # all convolutions but the stems; the rest are the head and attention
    for build in (full, quantized):
        assert build["operators"] > 2 * build["kernels"]
    assert [row["build"] for row in cpu["artifacts"]] == [None, None]
    assert invoke(["verify", str(bundles / "jetson")], "arbex") == 0
    assert "compiles it for compute capability 8.6" in capsys.readouterr().out


def test_a_file_that_does_not_compile_fails(tmp_path: Path) -> None:
    folder = write_miniature(tmp_path / "jetson")
    bundle = open_bundle(folder)
    bundle = replace(bundle, manifest=replace(bundle.manifest, compute_capability="8.7"))
    (row,) = verify_bundle(bundle).artifacts
    (artifact,) = bundle.manifest.artifacts
    assert with_build(row, bundle, artifact, {}).build is not None
    other = shutil.copytree(folder, tmp_path / "other")
    (other / ARTIFACT).write_bytes(b"no graph")
    failed = with_build(row, replace(bundle, path=other), artifact, {})
    assert not failed.passed
    assert "TensorRT-RTX cannot read model.fp32.onnx" in failed.why


def test_without_tensorrt_rtx_the_row_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = open_bundle(write_miniature(tmp_path))
    bundle = replace(bundle, manifest=replace(bundle.manifest, compute_capability="8.7"))

    def missing(*_: object) -> None:
        raise MissingPackageError("tensorrt-rtx-cu13", "building engines", extra="rtx")

    monkeypatch.setattr("runtimes.compilation.try_build", missing)
    (artifact,) = bundle.manifest.artifacts
    (row,) = verify_bundle(bundle).artifacts
    found = with_build(row, bundle, artifact, {})
    assert found.passed
    assert "it was not compiled for its GPU" in found.why
    assert "arbex[rtx]" in found.why
