"""Custom backbones: trained, exported to every format, and never executed because a file names them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest

from arbex.checkpoint import load_run, open_run
from arbex.cli import invoke
from arbex.errors import InputError, RunError
from arbex.models import ReliabilityHead
from arbex.models.custom import BackboneConfig
from arbex.settings import PRESET_SETTINGS, override
from arbex.training.configuration import TrainRequest
from arbex.training.loop import train
from export.pipeline import export
from export.plan import ExportRequest
from runtimes.bundle import open_bundle
from tests.export import architectures

QUICK = override(PRESET_SETTINGS["custom"], ["epochs=1", "images_per_class=16", "batch_size=16"])


def name(architecture: str) -> str:
    return f"tests.export.architectures:{architecture}"


def train_on(backbone: str, faces: Path, out: Path, image_size: int = 64) -> None:
    train(
        TrainRequest(
            data=str(faces),
            out=out,
            preset="custom",
            method="arbex",
            settings=QUICK,
            image_size=image_size,
            backbone=backbone,
        )
    )


@pytest.fixture(scope="module")
def vit_run(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "vit"
    train_on(name("vit"), faces, out)
    return out


@pytest.mark.slow
@pytest.mark.parametrize(
    "architecture",
    [
        "poster",
        "vit",
        pytest.param("convnext", marks=pytest.mark.lab),
        pytest.param("mobilevit", marks=pytest.mark.lab),
    ],
)
def test_architectures_of_transformers_reach_every_format(architecture: str, faces: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train_on(name(architecture), faces, run)
    # After eight steps every answer is a close call, which int8 may flip, so the distributions are judged.
    request = ExportRequest(
        run=run,
        targets=["cpu", "iphone", "android"],
        out=tmp_path,
        precisions=("fp32", "int8"),
        samples=32,
        max_kl=0.1,
        min_agreement=0.6,
        backbone=name(architecture),
    )
    reports = export(request)
    assert {Path(report.bundle).name for report in reports} == {"iphone", "android", "cpu"}
    for report in reports:
        assert report.passed
        for artifact in report.artifacts:
            limit = 1e-5 if artifact.precision == "fp32" else 0.2
            assert artifact.parity is not None
            assert artifact.parity.max_abs_error < limit
    bundle = open_bundle(tmp_path / "cpu")
    if architecture == "poster":  # layer norms reach TensorRT and ONNX Runtime whole, not as their parts
        graphs = [onnx.load(bundle.file(artifact)).graph for artifact in bundle.manifest.artifacts]
        assert [sum(node.op_type == "LayerNormalization" for node in graph.node) for graph in graphs] == [11, 11]
    # The model distinguishes images, so that parity is meaningful.
    assert bundle.golden().expected.corrected.std(0).max() > 1e-3
    assert bundle.manifest.provenance.preset == "custom"


def test_the_head_is_the_same_for_any_backbone(vit_run: Path) -> None:
    model = load_run(vit_run, backbone=architectures.vit)
    assert isinstance(model.head, ReliabilityHead)
    assert model.head.reduce.in_features == 64
    by_name = load_run(vit_run, backbone=name("vit"))
    assert set(by_name.state_dict()) == set(model.state_dict())


def test_reading_a_run_runs_none_of_the_code_it_names(
    vit_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(vit_run, tmp_path / "run"))
    config = json.loads((run / "config.json").read_text())
    config["encoder"]["backbone"] = "evil:build"
    (run / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text("open('ran', 'w').close()")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="If you trust that code, add: --backbone evil:build"):
        load_run(run)
    with pytest.raises(RunError, match="not tests.export.architectures:vit"):
        load_run(run, backbone=name("vit"))
    named = open_run(run).config.encoder
    assert isinstance(named, BackboneConfig)
    assert named.backbone == "evil:build"
    assert not (tmp_path / "ran").exists()


def test_commands_ask_for_the_backbone(vit_run: Path, faces: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert invoke(["evaluate", str(vit_run), "--data", str(faces)], "arbex") == 2
    assert f"add: --backbone {name('vit')}" in capfd.readouterr().err
    assert invoke(["evaluate", str(vit_run), "--data", str(faces), "--backbone", name("vit"), "--json"], "arbex") == 0
    assert json.loads(capfd.readouterr().out)["n"] > 0


def test_weights_of_another_backbone_are_refused(vit_run: Path) -> None:
    with pytest.raises(RunError, match="do not fit"):
        load_run(vit_run, backbone=architectures.convnext)


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ("nothing", "Allowed: package.module:callable"),
        ("no_such_package:build", "cannot be imported"),
        (name("missing"), "cannot be imported"),
        (name("Tensor.__doc__"), "Allowed: a callable"),
        (name("no_module"), "returned str"),
        (name("no_vector"), r"one vector per image, \[B, F\]"),
    ],
)
def test_what_is_no_backbone_is_refused(backbone: str, message: str, faces: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        train_on(backbone, faces, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_the_size_a_backbone_wants_is_asked_for(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--image-size"):
        train_on(name("vit"), faces, tmp_path / "run", image_size=80)
