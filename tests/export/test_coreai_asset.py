"""Core AI assets: written from the same calibrated program as all formats, and run by Apple's own interpreter."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from arbex.checkpoint import load_run
from arbex.errors import BackendError
from arbex.spec import digest_file
from export.formats.coreai_asset import CoreAiAsset
from export.programs import Programs
from export.registry import all_packages, choose_targets
from export.trace import trace
from runtimes import open_bundle
from runtimes.coreai_runtime import CoreAi, CoreAiInside
from runtimes.doctor import probe
from runtimes.emulation.emulated_runtime import EmulatedRuntime
from runtimes.emulation.processors import PROCESSORS
from runtimes.registry import default_environment
from runtimes.vendor_output import hidden_output
from runtimes.verification import verify_bundle


def test_both_precisions_meet_the_limits_of_litert(coreai_bundle: Path) -> None:
    full, quantized = verify_bundle(open_bundle(coreai_bundle)).artifacts
    assert (full.runtime, full.executed, full.passed) == ("coreai-interpreter", True, True)
    assert full.parity is not None
    assert full.parity.max_abs_error <= 1e-5
    assert (quantized.executed, quantized.passed) == (True, True)
    assert quantized.parity is not None
    assert quantized.parity.mean_kl <= 5e-3


def test_it_is_held_to_its_own_answers_at_export(coreai_bundle: Path) -> None:
    limits = [
        artifact.recorded and artifact.recorded.limits for artifact in open_bundle(coreai_bundle).manifest.artifacts
    ]
    assert [limit and limit.typical_error for limit in limits] == [5e-6, 5e-6]


def test_its_layers_compute_in_integers(coreai_bundle: Path) -> None:
    artifact = open_bundle(coreai_bundle).find("int8")
    assert artifact.work is not None
    assert 0.9 < artifact.work.int8_share < 1
    assert not any("no integer kernel" in island.reason for island in artifact.work.islands)


def test_an_asset_says_nothing_of_this_machine(coreai_bundle: Path) -> None:
    for file in (coreai_bundle / "artifacts/model.fp32.aimodel").rglob("*"):
        assert str(Path(__file__).parents[2]).encode() not in file.read_bytes()


def test_a_process_writes_equal_models_as_equal_files(run: Path, tmp_path: Path) -> None:
    (target,) = choose_targets(["coreai"])
    variant = Programs(trace(load_run(run))).variant(target, "fp32")
    assets = [tmp_path / "one.aimodel", tmp_path / "two.aimodel"]
    with hidden_output():
        for asset in assets:
            CoreAiAsset().write(variant, asset)
    for name in ("main.mlirb", "metadata.json"):  # the third file is a hash that differs from run to run
        assert digest_file(assets[0] / name) == digest_file(assets[1] / name), name


def test_it_runs_next_to_an_event_loop_of_the_caller(coreai_bundle: Path) -> None:
    import asyncio

    opened = open_bundle(coreai_bundle)
    golden = opened.golden()

    async def answer() -> np.ndarray:
        with opened.open("fp32") as runtime:
            return runtime.run(golden.images[:2]).corrected

    expected = golden.expected.corrected[:2]
    assert np.abs(asyncio.run(answer()) - expected).max() <= 1e-5


def test_a_damaged_asset_is_refused(coreai_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model.aimodel"
    folder.mkdir()
    for file in (coreai_bundle / "artifacts/model.fp32.aimodel").iterdir():
        (folder / file.name).write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(BackendError, match="cannot load"):
        CoreAi(folder, 64)


def test_altered_bytecode_ends_the_interpreter_and_not_this_process(coreai_bundle: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(coreai_bundle / "artifacts/model.fp32.aimodel", tmp_path / "model.aimodel"))
    content = bytearray((folder / "main.mlirb").read_bytes())
    content[8000:16000] = bytes(8000)  # fewer bytes may be among those that say nothing
    (folder / "main.mlirb").write_bytes(content)
    with pytest.raises(BackendError, match="its process ended with SIGABRT"):
        CoreAi(folder, 64)


@pytest.mark.lab
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_another_processor_gives_the_same_answers_to_the_last_bit(coreai_bundle: Path, precision: str) -> None:
    processor, environment, opened = PROCESSORS["haswell"], default_environment(), open_bundle(coreai_bundle)
    try:
        environment.check(processor)
    except BackendError as error:
        pytest.skip(str(error))
    file, images = opened.file(opened.find(precision)), opened.golden().images[:4]
    emulated = EmulatedRuntime(file, opened.side, runtime=CoreAiInside, processor=processor, environment=environment)
    with opened.open(precision) as runtime:
        for here, there in zip(runtime.run(images), emulated.run(images), strict=True):
            np.testing.assert_array_equal(here, there)


def test_its_page_and_the_doctor_know_it(coreai_bundle: Path) -> None:
    assert "Core AI is in beta, and so is this target." in (coreai_bundle / "README.md").read_text()
    packages = {package.distribution: package for package in all_packages()}
    assert probe(packages["coreai-core"]).works
    assert probe(packages["coreai-torch"]).remedy == "pip install 'arbex[coreai]'"
