"""The command line: fast help, errors of one paragraph, and only JSON on stdout."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arbex.cli import COMMANDS, invoke
from tests.limits import FEW_OPTIONS

ROOT = Path(__file__).parent.parent.parent.parent


@pytest.fixture
def face(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (80, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "face.png")
    return tmp_path / "face.png"


@pytest.mark.parametrize("command", [[], *[[name] for name in COMMANDS]], ids=lambda c: "".join(c) or "arbex")
def test_help_answers_at_once(command: list[str]) -> None:
    times = []
    for _ in range(3):
        before = os.times()
        done = subprocess.run([sys.executable, "-m", "arbex", *command, "--help"], capture_output=True, check=True)
        after = os.times()  # processor time: elapsed time would include other work of the machine
        times.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert b"Usage: " in done.stdout
    assert min(times) < 0.3


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_nothing_heavy(command: str) -> None:
    code = (
        f"import sys, arbex.cli as c; c.invoke([{command!r}, '--help'], 'arbex'); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "PIL", "cattrs", "asyncio", "torch"} & set(done.stderr.split())


def test_arbex_export_is_arbex_export(capsys: pytest.CaptureFixture[str]) -> None:
    executable = Path(sys.executable).parent / "arbex-export"
    done = subprocess.run([executable, "--help"], capture_output=True, text=True, check=True)
    assert "arbex export [OPTIONS] [RUN]" in done.stdout


def test_run_prints_json_alone(bundles: Path, face: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert invoke(["run", str(bundles / "cpu"), str(face), str(face.parent), "--json"], "arbex") == 0
    answers = json.loads(capfd.readouterr().out)
    assert [a["file"] for a in answers] == [str(face), str(face)]
    for answer in answers:
        assert set(answer) == {"file", "label", "confidence", "corrected", "primary", "box", "unsure"}
        assert answer["box"] is None
        assert answer["unsure"] is False
        assert sum(answer["corrected"].values()) == pytest.approx(1, abs=1e-5)
        assert answer["label"] == max(answer["corrected"], key=answer["corrected"].__getitem__)


def test_every_artifact_that_runs_here_answers_alike(
    bundles: Path, face: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    answers = []
    for bundle, artifact in (("cpu", "fp32"), ("cpu", "int8"), ("android", "fp32"), ("android", "int8")):
        assert invoke(["run", str(bundles / bundle), str(face), "--artifact", artifact, "--json"], "arbex") == 0
        answers.append(json.loads(capfd.readouterr().out)[0]["corrected"])
    onnx, onnx_int8, litert, litert_int8 = answers
    assert litert == pytest.approx(onnx, abs=1e-5)
    assert litert_int8 == pytest.approx(onnx_int8, abs=1e-3)  # both come from the same calibrated program
    # How far INT8 moves one answer depends on the weights, and these on the processor that trained them.
    assert onnx_int8 == pytest.approx(onnx, abs=5e-2)


def test_verify_json_has_the_promised_keys(bundles: Path, faces: Path, capfd: pytest.CaptureFixture[str]) -> None:
    paths = [str(bundles / name) for name in ("cpu", "iphone")]
    command = ["verify", *paths, "--data", str(faces), "--min-agreement", "0.5", *FEW_OPTIONS, "--json"]
    assert invoke(command, "arbex") == 0
    outcome = json.loads(capfd.readouterr().out)
    assert outcome["passed"] is True
    executed = [a for b in outcome["bundles"] for a in b["artifacts"] if a["executed"]]
    keys = {"artifact", "format", "precision", "runtime", "executed", "samples", "max_abs_error", "mean_kl", "max_kl"}
    keys |= {
        "cpu",
        "top1_agreement",
        "top1_agreement_ci95",
        "ece_delta",
        "confidence_rank_correlation",
        "passed",
        "why",
        "outcome",
        "p99_kl",
        "jensen_shannon",
        "recall_change",
        "primary_max_abs_error",
        "confidence_max_abs_error",
        "program_kl",
    }
    assert all(keys <= set(a) for b in outcome["bundles"] for a in b["artifacts"])
    assert len(executed) == 4
    images = len(list((faces / "test").rglob("*.png")))
    assert [a["samples"] for a in executed] == [images] * 4
    assert all(a["ece_delta"] is not None for a in executed)


def test_verify_reads_data_sets_as_they_are_given_out(
    bundles: Path, faces: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    codes = ("AN", "DI", "FE", "HA", "NE", "SA", "SU")
    classes = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    for i, (person, (code, name)) in enumerate(product(("KA", "KL", "NA", "YM"), zip(codes, classes, strict=True))):
        source = sorted((faces / "train" / name).iterdir())[i % 3]
        Image.open(source).convert("L").save(tmp_path / f"{person}.{code}1.{i}.tiff")
    command = ["verify", str(bundles / "cpu"), "--data", f"jaffe:{tmp_path}", "--limit", "5", *FEW_OPTIONS]
    assert invoke([*command, "--min-agreement", "0", "--max-kl", "1", "--json"], "arbex") == 0
    (artifact, *_) = (a for b in json.loads(capfd.readouterr().out)["bundles"] for a in b["artifacts"] if a["executed"])
    assert artifact["samples"] == 5
    assert artifact["ece_delta"] is not None  # the classes are known


def test_verify_exits_with_1_for_an_altered_bundle(
    bundles: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(bundles / "cpu", tmp_path / "cpu")
    (copy / "README.md").write_text("changed")
    assert invoke(["verify", str(copy), "--json"], "arbex") == 1
    assert "altered" in json.loads(capfd.readouterr().out)["bundles"][0]["why"]


def test_verify_refuses_a_run_that_changed(bundles: Path, faces: Path, tmp_path: Path, run: Path) -> None:
    from arbex.checkpoint import load_run, write_weights

    copy = shutil.copytree(run, tmp_path / "run")
    weights = load_run(copy).state_dict()
    write_weights(copy / "best.safetensors", {k: v + 1 for k, v in weights.items()}, {"epoch": "1"})
    command = ["verify", str(bundles / "cpu"), "--data", str(faces), "--reference", str(copy)]
    assert invoke(command, "arbex") == 2


def test_bench_json_has_the_promised_keys(bundles: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert invoke(["bench", str(bundles / "rtx"), str(bundles / "iphone"), "--json"], "arbex") == 0
    rows = json.loads(capfd.readouterr().out)
    names = ["model.fp32.onnx", "model.int8.onnx", "model.fp32.mlpackage", "model.int8.mlpackage"]
    assert [r["artifact"] for r in rows] == names
    keys = {"bundle", "artifact", "runtime", "precision", "threads", "p50_ms", "p95_ms", "images_per_s"}
    for row in rows:
        assert set(row) == keys | {"size_bytes", "peak_rss_bytes"}
        assert 0 < row["p50_ms"] <= row["p95_ms"]
        assert row["peak_rss_bytes"] > 10e6


def test_inspect_and_doctor(bundles: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert invoke(["inspect", str(bundles / "jetson"), "--json"], "arbex") == 0
    value = json.loads(capfd.readouterr().out)
    assert value["intact"] is True
    assert value["target"] == "jetson"
    assert value["provenance"]["tools"]["torch"]
    assert invoke(["doctor", "--json"], "arbex") == 0
    backends = {b["name"]: b for b in json.loads(capfd.readouterr().out)["backends"]}
    assert backends["onnxruntime"]["works"] is True
    assert backends["torch-tensorrt"]["works"] is False
    assert "pip install" in backends["torch-tensorrt"]["remedy"]


def test_evaluate_json(run: Path, faces: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert invoke(["evaluate", str(run), "--data", str(faces), "--json"], "arbex") == 0
    value = json.loads(capfd.readouterr().out)
    scores = {"accuracy", "balanced_accuracy", "macro_f1", "ece", "nll", "per_class", "confusion"}
    assert scores | {"primary", "std_primary", "std_corrected", "n"} <= set(value)
    assert scores <= set(value["primary"])


def test_evaluate_on_a_whole_data_set_with_another_name_for_a_class(
    run: Path, faces: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "test"):
        for name, called in (("happiness", "joy"), ("anger", "anger"), ("fear", "dread")):
            shutil.copytree(faces / split / name, tmp_path / split / called)
    command = ["evaluate", str(run), "--data", str(tmp_path), "--split", "all", "--mirrored"]
    assert invoke([*command, "--map", "joy=happiness"], "arbex") == 2
    assert "what becomes of dread: --map dread=CLASS, or --map dread=-" in capfd.readouterr().err
    assert invoke([*command, "--map", "joy=happiness", "--map", "dread=-"], "arbex") == 0
    shown = capfd.readouterr()
    assert "has no images of neutral, disgust, fear, sadness, surprise" in shown.err
    images = len(list(tmp_path.glob("*/joy/*.png"))) + len(list(tmp_path.glob("*/anger/*.png")))
    assert shown.out.startswith(f"{images} images\n")
    assert re.search(r"^fear +- +- +- +0$", shown.out, re.MULTILINE)


def bad_images(folder: Path) -> dict[str, Path]:
    whole = folder / "whole.png"
    Image.fromarray(np.zeros((60, 60, 3), np.uint8)).save(whole)
    cut, text, dot = folder / "cut.png", folder / "text.jpg", folder / "dot.png"
    cut.write_bytes(whole.read_bytes()[:40])
    text.write_text("hello")
    Image.fromarray(np.zeros((1, 1, 3), np.uint8)).save(dot)
    return {"cut": cut, "text": text, "dot": dot, "missing": folder / "nowhere.png"}


@pytest.mark.parametrize("kind", ["cut", "text", "dot", "missing"])
def test_bad_images_exit_with_2_and_one_paragraph(
    kind: str, bundles: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    image = bad_images(tmp_path)[kind]
    assert invoke(["run", str(bundles / "cpu"), str(image)], "arbex") == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    message = [line for line in captured.err.splitlines() if line.startswith("Error: ")]
    assert len(message) == 1
    assert str(image) in message[0]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "--data", "/nowhere"], 2, "/nowhere does not exist"),
        (["train", "--data", "{faces}", "--set", "speed=9"], 2, "setting 'speed' is not known"),
        (["train", "--data", "{faces}", "--method", "magic"], 2, "magic"),
        (["evaluate", "/nowhere", "--data", "{faces}"], 2, "run /nowhere does not exist"),
        (["evaluate", "{halfrun}", "--data", "{faces}"], 2, "best.safetensors is missing"),
        (["evaluate", "{run}", "--data", "{otherorder}"], 2, "class order"),
        (["export", "{run}", "--target", "toaster", "--out", "{out}"], 2, "toaster"),
        (["export", "{run}", "--target", "cpu", "--precision", "int4", "--out", "{out}"], 2, "int4"),
        (["export", "{untrained}", "--target", "cpu", "--out", "{out}"], 2, "never trained"),
        (["export", "{run}", "--target", "cpu", "--calibration", "/nowhere", "--out", "{out}"], 2, "/nowhere"),
        (["export", "{run}", "--target", "jetson", "--builder", "torch-tensorrt", "--out", "{out}"], 3, "GPU"),
        (["export", "{run}", "--target", "cpu", "--max-kl", "0", "--out", "{out}"], 1, "does not hold even with all"),
        (["calibrate", "{run}", "--data", "{faces}", "--out", "t.txt"], 2, "Allowed: FILE.json"),
        (["calibrate", "{run}", "--data", "{faces}", "--out", "t.json", "--shard", "3/2"], 2, "'3/2' is not a shard"),
        (["calibrate", "{run}", "--data", "{faces}", "--out", "t.json", "--merge", "no.json"], 2, "cannot be read"),
        (["calibrate", "{run}", "--data", "{faces}", "--out", "t.json", "--samples", "3"], 2, "cannot cover 7 classes"),
        (["run", "/nowhere", "x.png"], 2, "bundle /nowhere does not exist"),
        (["verify", "{bundles}/cpu", "--report", "x.pdf"], 2, ".html, .md, .xml"),
        (["synth", "{faces}"], 2, "is not empty"),
        (
            ["train", "--data", "{faces}", "--out", "{out}", "--method", "efficientface"],
            2,
            "give its run with --teacher",
        ),
        (["train", "--data", "{faces}", "--out", "{out}", "--new-head"], 2, "--new-head was given without --init"),
        (["train", "--data", "{faces}", "--out", "{out}", "--set", "tokens=7"], 2, "does not divide the 128"),
        (["nonsense"], 2, "nonsense"),
        (["synth"], 2, "OUT"),
    ],
)
def test_mistakes_have_their_code_and_leave_nothing(
    arguments: list[str],
    code: int,
    words: str,
    run: Path,
    faces: Path,
    bundles: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"faces": faces, "run": run, "bundles": bundles, "out": tmp_path / "out"}
    places |= {"halfrun": tmp_path / "half", "otherorder": tmp_path / "order", "untrained": tmp_path / "untrained"}
    needed = " ".join(arguments)
    if "{halfrun}" in needed:
        places["halfrun"].mkdir()
        shutil.copy(run / "config.json", places["halfrun"])
    if "{otherorder}" in needed:
        shutil.copytree(faces / "test", places["otherorder"] / "test")
        names = (faces / "classes.txt").read_text().split()
        (places["otherorder"] / "classes.txt").write_text("\n".join(reversed(names)))
    if "{untrained}" in needed:
        from arbex.checkpoint import load_run, write_weights

        shutil.copytree(run, places["untrained"])
        weights = load_run(run).state_dict()
        write_weights(places["untrained"] / "best.safetensors", weights, {"epoch": "0"})
    before = {p.name for p in tmp_path.iterdir()}
    capfd.readouterr()
    assert invoke([a.format(**places) for a in arguments], "arbex") == code
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert words in errors[0]
    left = {p.name for p in tmp_path.iterdir()} - before
    assert left <= {"out"}
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_debug_shows_the_traceback_and_keeps_the_code(capfd: pytest.CaptureFixture[str]) -> None:
    assert invoke(["train", "--data", "/nowhere", "--debug"], "arbex") == 2
    assert "Traceback" in capfd.readouterr().err


@pytest.mark.parametrize("place", [0, 1])
def test_debug_is_an_option_of_every_level_and_ends_with_the_command(
    place: int, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["inspect", "/nowhere"]
    assert invoke([*arguments[:place], "--debug", *arguments[place:]], "arbex") == 2
    assert "Traceback" in capfd.readouterr().err
    assert invoke(arguments, "arbex") == 2
    assert "Traceback" not in capfd.readouterr().err
    assert invoke(["synth", "--debug"], "arbex") == 2  # an option is not an argument: OUT is missing
    assert "OUT" in capfd.readouterr().err


def test_no_command_shows_the_help(capfd: pytest.CaptureFixture[str]) -> None:
    assert invoke([], "arbex") == 0
    captured = capfd.readouterr()
    assert "Commands:\n" in captured.out
    assert captured.err == ""


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    for name in [m for m in sys.modules if m.startswith("arbex.training.loop")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    assert invoke(["train", "--data", "/nowhere"], "arbex") == 3
    assert "pip install 'arbex[train]'" in capfd.readouterr().err


def test_interruption_has_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("runtimes.doctor.examine", interrupt)
    assert invoke(["doctor"], "arbex") == 130


def test_exporting_next_to_other_folders_does_not_touch_them(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "mine.txt").write_text("keep")
    command = ["export", str(run), "--target", "cpu", "--precision", "fp32", "--out", str(tmp_path)]
    assert invoke(command, "arbex") == 2
    assert "holds something that is not a bundle, such as mine.txt" in capfd.readouterr().err
    assert (tmp_path / "cpu" / "mine.txt").read_text() == "keep"


def test_an_unexpected_error_is_one_paragraph_too(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def explode(_: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("runtimes.doctor.examine", explode)
    assert invoke(["doctor"], "arbex") == 70
    assert "--debug" in capfd.readouterr().err
