"""Export end to end: precisions, tables, archives, gates, all presets."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from arbex.checkpoint import load_run, open_run
from arbex.errors import CheckFailed, DataError, InputError, RunError, UnsupportedError
from arbex.progress import SILENT, Reporter
from arbex.reference import answer
from arbex.settings import PRESET_SETTINGS, override
from arbex.training.configuration import TrainRequest
from arbex.training.loop import train
from calibration import CalibrationTable
from calibration.costs import add_costs
from calibration.observers import OBSERVERS
from export.bundle_writer import write_archive
from export.bundler import Bundler
from export.channel_equalization import equalize_channels
from export.gate import answers_of
from export.golden_images import drawn_faces
from export.int8_calibration import CalibrationRequest, calibrate_run, write_calibration
from export.pipeline import export, prepare
from export.plan import ExportRequest, plan_export
from export.registry import TARGETS, choose_precisions, choose_targets
from export.trace import trace
from quantize.kernel_emulation import as_kernels_compute
from quantize.program import quantize
from quantize.recipe import CPU
from runtimes import open_bundle
from runtimes.comparison import compare
from runtimes.coreml_evaluator.package_files import read_specification
from runtimes.outcomes import BundleReport
from tests.reporters import Lines


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_the_jetson_graphs_are_what_tensorrt_wants(bundles: Path) -> None:
    int8 = onnx.load(bundles / "jetson/artifacts/model.int8.onnx")
    assert [(o.domain, o.version) for o in int8.opset_import if not o.domain] == [("", 18)]
    zero_points = [
        onnx.numpy_helper.to_array(i) for i in int8.graph.initializer if i.data_type == onnx.TensorProto.INT8
    ]
    scalars = [z for z in zero_points if z.ndim == 0]
    assert scalars
    assert all(z == 0 for z in scalars)
    assert operators(bundles / "jetson/artifacts/model.int8.onnx")["QuantizeLinear"] >= 12
    assert not list((bundles / "jetson/artifacts").glob("*.data"))


def test_the_engine_is_built_from_the_graph_that_a_jetson_gets(bundles: Path) -> None:
    """TensorRT-RTX parses and compiles that graph, strongly typed, on a machine without a GPU."""
    jetson, rtx = (bundles / name / "artifacts" for name in ("jetson", "rtx"))
    assert (jetson / "model.int8.onnx").read_bytes() == (rtx / "model.int8.onnx").read_bytes()
    assert (rtx / "model.int8.rtx.engine").stat().st_size > 100_000


def test_onnx_runtime_computes_convolutions_in_int8(bundles: Path, tmp_path: Path) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    path = str(bundles / "cpu/artifacts/model.int8.onnx")
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    counts = operators(tmp_path / "optimized.onnx")
    assert counts["QLinearConv"] == 12
    assert counts["QLinearAdd"] == 2
    assert counts["Conv"] + counts["FusedConv"] == 2  # the stems


def test_weights_share_no_zero_points(bundles: Path) -> None:
    """Without VNNI, ONNX Runtime turns int8 weights into uint8, and fails if two of them share zero points."""
    graph = onnx.load(bundles / "cpu/artifacts/model.int8.onnx").graph
    weights = {tensor.name for tensor in graph.initializer}
    points = [n.input[2] for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] in weights]
    assert len(points) >= 12
    assert len(set(points)) == len(points)


def test_litert_computes_convolutions_in_int8(bundles: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(bundles / "android/artifacts/model.int8.tflite"))
    interpreter.allocate_tensors()
    types = {t["index"]: t["dtype"] for t in interpreter.get_tensor_details()}
    kinds = Counter(
        (op["op_name"], types[op["inputs"][0]].__name__, types[op["outputs"][0]].__name__)
        for op in interpreter._get_ops_details()
        if "CONV_2D" in op["op_name"] or op["op_name"] == "FULLY_CONNECTED"
    )
    assert kinds["CONV_2D", "int8", "int8"] + kinds["DEPTHWISE_CONV_2D", "int8", "int8"] == 12
    assert kinds["CONV_2D", "float32", "float32"] == 2  # the stems
    assert kinds["FULLY_CONNECTED", "float32", "float32"] == 4  # the head


def test_graphs_name_no_path_of_this_machine(bundles: Path) -> None:
    files = [p for p in bundles.rglob("*") if p.is_file() and p.suffix in (".onnx", ".tflite", ".json")]
    assert {file.suffix for file in files} == {".onnx", ".tflite", ".json"}
    for file in files:
        assert str(Path(__file__).parent.parent.parent).encode() not in file.read_bytes(), file


def test_the_head_of_the_core_ml_package_stays_in_float32(bundles: Path) -> None:
    spec, _ = read_specification(bundles / "iphone/artifacts/model.int8.mlpackage")
    block = next(iter(spec.mlProgram.functions["main"].block_specializations.values()))
    float32, float16 = 11, 10  # MIL's DataType
    kinds: dict[str, set[int]] = {}
    for operation in block.operations:
        kinds.setdefault(operation.type, set()).update(o.type.tensorType.dataType for o in operation.outputs)
    assert kinds["exp"] == kinds["log"] == kinds["sqrt"] == {float32}
    assert kinds["conv"] == {float16}
    assert spec.description.input[0].type.imageType.width == 64


@pytest.mark.slow
def test_float16_of_every_format_stays_close(run: Path, tmp_path: Path) -> None:
    reports = export(ExportRequest(run=run, targets=["cpu", "android", "iphone"], out=tmp_path, precisions=("fp16",)))
    executed = [a for r in reports for a in r.artifacts if a.executed]
    assert [a.artifact for a in executed] == ["model.fp16.onnx", "model.fp16.tflite", "model.fp16.mlpackage"]
    assert all(a.parity is not None and a.parity.mean_kl < 1e-4 for a in executed)
    full = open_bundle(tmp_path / "android")
    assert full.size(full.find("fp16")) < 1.2e6


@pytest.mark.parametrize("target", ["cpu", "android"])
def test_integer_kernels_compute_the_int8_program(run: Path, faces: Path, bundles: Path, target: str) -> None:
    traced = equalize_channels(trace(load_run(run)))
    table, chosen = calibrate_run(open_run(run), traced, CalibrationRequest(source=str(faces), samples=32), SILENT)
    pixels = np.concatenate([drawn_faces(64), chosen.first(32)])
    program = answers_of(as_kernels_compute(quantize(traced.program, table.ranges, CPU)), traced, pixels)
    with open_bundle(bundles / target).open("int8") as runtime:
        found = compare(program, runtime.run_all(pixels))
    assert found.mean_kl < 1e-6
    assert found.top1_agreement == 1.0


def test_a_table_gives_the_same_graph_as_its_images(run: Path, faces: Path, bundles: Path, tmp_path: Path) -> None:
    table = write_calibration(run, CalibrationRequest(source=str(faces), samples=32), tmp_path / "table.json")
    assert CalibrationTable.load(tmp_path / "table.json") == table
    given = str(tmp_path / "table.json")
    export(ExportRequest(run=run, targets=["cpu"], out=tmp_path, precisions=("int8",), calibration=given))
    images, read = open_bundle(bundles / "cpu"), open_bundle(tmp_path / "cpu")
    pixels = drawn_faces(64)
    with images.open("int8") as one, read.open("int8") as two:
        assert np.array_equal(one.run(pixels).corrected, two.run(pixels).corrected)
    assert operators(images.file(images.find("int8"))) == operators(read.file(read.find("int8")))


@pytest.mark.slow
def test_a_table_of_another_run_is_refused(run: Path, faces: Path, tmp_path: Path) -> None:
    write_calibration(run, CalibrationRequest(source=str(faces), samples=14), tmp_path / "table.json")
    settings = override(PRESET_SETTINGS["tiny"], ["epochs=0", "seed=9"])
    train(TrainRequest(data=str(faces), out=tmp_path / "other", preset="tiny", method="arbex", settings=settings))
    request = ExportRequest(
        run=tmp_path / "other",
        targets=["cpu"],
        out=tmp_path / "out",
        precisions=("int8",),
        calibration=str(tmp_path / "table.json"),
        allow_untrained=True,
    )
    with pytest.raises(DataError, match=r"does not belong to this run \(checkpoint: "):
        export(request)
    assert not (tmp_path / "out").exists()


def test_a_gate_that_does_not_hold_keeps_the_older_bundle(run: Path, bundles: Path, tmp_path: Path) -> None:
    shutil.copytree(bundles / "cpu", tmp_path / "cpu")
    before = (tmp_path / "cpu/manifest.json").read_bytes()
    with pytest.raises(CheckFailed, match=r"does not hold even with all \d+ operators in float: mean KL"):
        export(ExportRequest(run=run, targets=["cpu"], out=tmp_path, precisions=("int8",), samples=14, max_kl=0.0))
    assert (tmp_path / "cpu/manifest.json").read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"cpu"}


@pytest.mark.lab
def test_a_gate_restores_operators_until_it_holds(run: Path, bundles: Path, tmp_path: Path) -> None:
    request = ExportRequest(
        run=run, targets=["cpu", "jetson"], out=tmp_path, precisions=("int8",), samples=32, min_agreement=0.0
    )
    free = prepare(plan_export(request), SILENT)
    assert free.programs.restored == ()
    assert free.provenance.sensitivity is not None
    wanted = free.provenance.sensitivity.trials[0].mean_kl / 2
    reports = export(replace(request, max_kl=wanted))
    artifacts = [a for r in reports for a in r.artifacts]
    assert len(artifacts) == 2
    assert all(a.parity is not None and a.parity.mean_kl <= wanted for a in artifacts)
    held = [open_bundle(tmp_path / name).manifest.provenance for name in ("cpu", "jetson")]
    chosen = {origin.recipe.float_operators for origin in held if origin.recipe}
    assert held[0].sensitivity is not None
    assert chosen == {held[0].sensitivity.restored}
    assert 0 < len(held[0].sensitivity.restored) < len(held[0].sensitivity.operators)
    assert len(held[0].sensitivity.trials) <= 20
    floats = [operators(folder / "cpu/artifacts/model.int8.onnx") for folder in (tmp_path, bundles)]
    assert floats[0]["DequantizeLinear"] < floats[1]["DequantizeLinear"]


@pytest.mark.slow
def test_a_table_of_another_graph_or_version_is_refused(run: Path, faces: Path, tmp_path: Path) -> None:
    write_calibration(run, CalibrationRequest(source=str(faces), samples=14), tmp_path / "table.json")
    table = CalibrationTable.load(tmp_path / "table.json")
    others = {"graph": replace(table.origin, graph="f" * 64), "tools": replace(table.origin, tools={"torch": "1.0"})}
    for name, origin in others.items():
        replace(table, origin=origin).save(tmp_path / "odd.json")
        request = ExportRequest(
            run=run, targets=["cpu"], out=tmp_path / "out", precisions=("int8",), calibration=str(tmp_path / "odd.json")
        )
        with pytest.raises(DataError, match=rf"does not belong to this run \({name}: .*arbex calibrate"):
            export(request)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_shards_merge_to_the_table_of_all_images(run: Path, faces: Path, tmp_path: Path) -> None:
    whole = write_calibration(run, CalibrationRequest(source=str(faces), samples=32), tmp_path / "whole.json")
    request = CalibrationRequest(source=str(faces), samples=32, shard=(1, 2))
    first = write_calibration(run, request, tmp_path / "first.json")
    request = replace(request, shard=(2, 2))
    second = write_calibration(run, request, tmp_path / "second.json")
    merged = write_calibration(run, request, tmp_path / "both.json", merge=[tmp_path / "first.json"])
    assert merged == second.merge(first)
    assert merged.statistics == whole.statistics
    for name in OBSERVERS:
        assert merged.with_calibrator(name).ranges == whole.with_calibrator(name).ranges
    assert merged.costs == add_costs(first.costs, second.costs)  # each for the ranges of its shard
    said = Lines()
    older = {name: replace(seen, channels=None) for name, seen in first.statistics.items()}  # of an earlier version
    replace(first, statistics=older).save(tmp_path / "older.json")
    write_calibration(run, request, tmp_path / "new.json", merge=[tmp_path / "older.json"], report=said)
    assert "holds no sums: biases will not be corrected" in " ".join(said.lines)


@pytest.mark.slow
def test_one_target_that_fails_does_not_cost_the_others(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = Bundler.check

    def failing(self: Bundler, folder: Path, out: Path, progress: Reporter) -> BundleReport:
        if out.name == "cpu":
            raise CheckFailed("model.fp32.onnx for cpu is wrong.", remedy="Do something.")
        return check(self, folder, out, progress)

    monkeypatch.setattr(Bundler, "check", failing)
    request = ExportRequest(run=run, targets=["cpu", "android", "iphone"], out=tmp_path, precisions=("fp32",))
    said = Lines()
    with pytest.raises(CheckFailed, match=r"for cpu is wrong. Kept: .*/android, .*/iphone. Do something."):
        export(request, report=said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["android", "iphone"]
    assert "cpu: not kept, since it does not pass its checks" in said.lines


@pytest.mark.parametrize("option", [{"max_kl": 0.1}, {"min_agreement": 0.9}, {"calibrator": "mse"}])
def test_options_of_int8_are_refused_where_there_is_none(run: Path, tmp_path: Path, option: dict[str, object]) -> None:
    """A gate that was never judged must not seem to hold."""
    request = ExportRequest(run=run, targets=["cpu"], out=tmp_path / "out", precisions=("fp32",), **option)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="would have no effect, since nothing is exported in int8, but in fp32"):
        export(request)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_archive_holds_the_bundle(run: Path, tmp_path: Path) -> None:
    export(ExportRequest(run=run, targets=["cpu"], out=tmp_path, precisions=("fp32",), archive=True))
    with zipfile.ZipFile(tmp_path / "cpu.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    assert open_bundle(tmp_path / "unpacked/cpu").manifest.target == "cpu"
    again = write_archive(Path(shutil.copytree(tmp_path / "cpu", tmp_path / "again/cpu")))
    assert again.read_bytes() == (tmp_path / "cpu.zip").read_bytes()


def test_targets_and_precisions_are_checked_by_table() -> None:
    assert {t.name for t in choose_targets(["all"])} == {"jetson", "iphone", "android", "rtx", "cpu"}
    assert [t.name for t in choose_targets(["cpu", "jetson", "cpu"])] == ["cpu", "jetson"]
    assert choose_precisions(TARGETS["jetson"], ()) == ("fp16", "int8")
    assert choose_precisions(TARGETS["jetson"], ("int8", "fp32")) == ("fp32", "int8")
    with pytest.raises(UnsupportedError, match="No target"):
        choose_targets([])


def test_golden_faces_are_the_same_on_every_machine_and_cannot_be_changed_by_a_caller() -> None:
    faces = drawn_faces(64)
    assert faces.shape == (32, 64, 64, 3)
    # A change of the drawing changes it on purpose.
    assert hashlib.sha256(faces.tobytes()).hexdigest().startswith("315a4eeb01be2972")
    faces[:] = 0
    assert drawn_faces(64).any()


def test_the_manifest_names_no_folder_of_the_user(bundles: Path) -> None:
    origin = json.loads((bundles / "cpu/manifest.json").read_text())["provenance"]
    assert not Path(origin["run"]).is_absolute()
    assert (bundles / "cpu" / origin["run"]).resolve().joinpath("config.json").is_file()


@pytest.mark.lab
@pytest.mark.parametrize(("preset", "targets"), [("mobile", ["cpu", "android", "iphone"]), ("base", ["cpu"])])
def test_other_presets_export_untrained_if_allowed(
    preset: str, targets: list[str], faces: Path, tmp_path: Path
) -> None:
    settings = override(PRESET_SETTINGS[preset], ["epochs=0"])
    run = tmp_path / "run"
    train(TrainRequest(data=str(faces), out=run, preset=preset, method="arbex", settings=settings))
    with pytest.raises(RunError, match="never trained"):
        export(ExportRequest(run=run, targets=targets, out=tmp_path / "out", precisions=("fp32",)))
    request = ExportRequest(
        run=run, targets=targets, out=tmp_path / "out", precisions=("fp32", "int8"), samples=7, allow_untrained=True
    )
    for report in export(request):
        assert report.passed
        for row in report.artifacts:
            if row.executed and row.precision == "fp32":
                assert row.parity is not None
                assert row.parity.max_abs_error <= 1e-5
    sizes = {file.name: file.stat().st_size for file in (tmp_path / "out/cpu/artifacts").iterdir()}
    assert preset != "base" or sizes["model.int8.onnx"] <= 0.27 * sizes["model.fp32.onnx"]
    assert open_run(run).epoch == 0
    one = drawn_faces(load_run(run).preprocessing.image_size)[:8]
    together, alone = answer(load_run(run), one)[0], answer(load_run(run), one[:1])[0]
    assert np.abs(together[:1] - alone).max() <= 1e-6
