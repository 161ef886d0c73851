"""Training: a run is complete, resumable, reproducible, and refuses what does not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from arbex.checkpoint import load_run, open_run, read_metadata, read_weights, write_weights
from arbex.errors import DataError, InputError, RunError, UnsupportedError
from arbex.evaluation.runs import evaluate
from arbex.settings import PRESET_SETTINGS, override
from arbex.training.configuration import TrainRequest
from arbex.training.loop import train
from tests.reporters import Lines

QUICK = override(PRESET_SETTINGS["tiny"], ["epochs=2", "images_per_class=8", "batch_size=8", "schedule=exponential"])


def request(faces: Path, out: Path, epochs: int = 2, **change: object) -> TrainRequest:
    settings = override(QUICK, [f"epochs={epochs}"])
    return TrainRequest(data=str(faces), out=out, preset="tiny", method="arbex", settings=settings, **change)  # type: ignore[arg-type]


def metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_run_holds_what_the_interface_says(faces: Path, tmp_path: Path) -> None:
    state = train(request(faces, tmp_path / "run"))
    run = tmp_path / "run"
    assert state.epoch == 2
    assert {"config.json", "best.safetensors", "last.safetensors", "metrics.jsonl"} <= {p.name for p in run.iterdir()}
    assert [m["epoch"] for m in metrics(run)] == [1, 2]
    assert read_metadata(run / "last.safetensors")["epoch"] == "2"
    assert open_run(run).epoch == state.best_epoch
    model = load_run(run)
    assert not model.training
    assert model(torch.zeros(1, 3, 64, 64)).corrected.shape == (1, 7)
    assert json.loads((run / "config.json").read_text())["data"]["path"] == str(faces.resolve())


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_resuming_continues_as_if_never_interrupted(optimizer: str, faces: Path, tmp_path: Path) -> None:
    """In channels-last order, too, in which the presets train and which files do not store."""

    def train_once(name: str, epochs: int, *, resume: bool = False) -> None:
        asked = request(faces, tmp_path / name, epochs=epochs, resume=resume)
        settings = override(asked.settings, [f"optimizer={optimizer}", "channels_last=true", "precision=32-true"])
        train(replace(asked, settings=settings))

    train_once("whole", 2)
    train_once("parts", 1)
    # An interrupted epoch left a line behind, but no resume file.
    with (tmp_path / "parts" / "metrics.jsonl").open("a") as stream:
        stream.write('{"epoch": 2, "loss": 99}\n')
    train_once("parts", 2, resume=True)
    whole, parts = metrics(tmp_path / "whole"), metrics(tmp_path / "parts")
    assert [m["loss"] for m in parts] == pytest.approx([m["loss"] for m in whole], abs=1e-6)
    a, b = load_run(tmp_path / "whole").state_dict(), load_run(tmp_path / "parts").state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_a_damaged_state_is_refused(faces: Path, tmp_path: Path) -> None:
    train(request(faces, tmp_path / "run", epochs=1))
    path = tmp_path / "run" / "resume.safetensors"
    tensors = {**read_weights(path), "optimizer.9999.exp_avg": torch.zeros(1)}
    write_weights(path, tensors, read_metadata(path))
    with pytest.raises(RunError, match="resume.safetensors is damaged"):
        train(request(faces, tmp_path / "run", epochs=2, resume=True))


def test_a_run_whose_optimizer_changed_other_weights_is_refused(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:  # Muon did not change what is inside of heads once
        earlier.setattr("arbex.models.head.ReliabilityHead.inner_weights", ())
        train(request(faces, tmp_path / "run", epochs=1))
    with pytest.raises(RunError, match="Muon. An earlier version of arbex wrote them.*--init"):
        train(request(faces, tmp_path / "run", epochs=2, resume=True))


def test_the_callers_random_numbers_go_on(faces: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(request(faces, tmp_path / "run", epochs=1))
    assert torch.equal(torch.rand(3), expected)


def test_zero_epochs_write_an_untrained_run(faces: Path, tmp_path: Path) -> None:
    train(request(faces, tmp_path / "run", epochs=0))
    assert open_run(tmp_path / "run").epoch == 0


def test_poster_trains_without_correction(faces: Path, tmp_path: Path) -> None:
    settings = override(QUICK, ["epochs=1"])
    train(TrainRequest(data=str(faces), out=tmp_path / "run", preset="tiny", method="poster", settings=settings))
    output = load_run(tmp_path / "run")(torch.zeros(1, 3, 64, 64))
    assert torch.equal(output.corrected, output.primary)


def test_another_image_size_scales_the_windows(faces: Path, tmp_path: Path) -> None:
    train(request(faces, tmp_path / "run", epochs=0, image_size=32))
    assert load_run(tmp_path / "run").preprocessing.image_size == 32
    with pytest.raises(InputError, match="image_size is 36, which does not fit the preset 'tiny'. Allowed: 64, and"):
        train(request(faces, tmp_path / "bad", epochs=0, image_size=36))
    assert not (tmp_path / "bad").exists()


def test_an_unknown_preset_or_method_is_refused(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="The preset 'huge' is not known. Allowed: tiny, small, mobile, base"):
        replace(request(faces, tmp_path / "run"), preset="huge")
    with pytest.raises(UnsupportedError, match="The method 'magic' is not known. Allowed: arbex, poster, "):
        train(replace(request(faces, tmp_path / "run"), method="magic"))
    with pytest.raises(InputError, match="anchors is -1. Allowed: 0 to 1000."):
        request(faces, tmp_path / "run", anchors=-1)
    assert list(tmp_path.iterdir()) == []


def test_a_used_folder_is_not_overwritten(run: Path, faces: Path) -> None:
    with pytest.raises(InputError, match="is not empty.*--resume"):
        train(request(faces, run))


def test_resuming_with_other_settings_is_refused(faces: Path, tmp_path: Path) -> None:
    train(request(faces, tmp_path / "run", epochs=0))
    with pytest.raises(RunError, match="was started with anchors 10, not 3"):
        train(request(faces, tmp_path / "run", resume=True, anchors=3))
    with pytest.raises(RunError, match="no run"):
        train(request(faces, tmp_path / "nowhere", resume=True))


def test_unusable_data_leaves_no_run_behind(faces: Path, tmp_path: Path) -> None:
    broken = tmp_path / "data"
    for name in ("train/a", "train/b"):
        (broken / name).mkdir(parents=True)
        (broken / name / "x.jpg").write_text("text")
        (broken / name / "y.jpg").write_text("text")
    with pytest.raises(DataError, match="cannot be read as an image"):
        train(request(broken, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


ALL_AT_ONCE = ["averaging=0.9", "sampling=natural", "mixup=0.2", "cutmix=1", "erasing=0.5"]


def test_averages_and_mixed_images_go_on_after_an_interruption(faces: Path, tmp_path: Path) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    settings = override(QUICK, ALL_AT_ONCE)
    ask = replace(request(faces, whole), settings=settings)
    train(ask)
    train(replace(ask, out=part, settings=replace(settings, epochs=1)))
    train(replace(ask, out=part, resume=True))
    once, resumed = (read_weights(out / "last.safetensors") for out in (whole, part))
    assert all(torch.equal(once[name], resumed[name]) for name in once)


def test_what_an_average_stores_is_what_was_validated(faces: Path, tmp_path: Path) -> None:
    settings = override(QUICK, ["averaging=0.9", "epochs=1", "schedule=one-cycle"])
    train(replace(request(faces, tmp_path / "run"), settings=settings))
    found = evaluate(str(tmp_path / "run"), str(faces), "val")
    assert found.corrected.accuracy == pytest.approx(open_run(tmp_path / "run").accuracy, abs=1e-6)


def test_averaged_weights_are_not_the_last_ones(faces: Path, tmp_path: Path) -> None:
    for averaging in (0.0, 0.9):
        settings = override(QUICK, ["epochs=1", f"averaging={averaging}"])
        train(replace(request(faces, tmp_path / str(averaging)), settings=settings))
    plain, averaged = (read_weights(tmp_path / name / "last.safetensors") for name in ("0.0", "0.9"))
    assert plain.keys() == averaged.keys()
    assert not torch.equal(plain["head.reduce.weight"], averaged["head.reduce.weight"])


def test_training_ends_when_nothing_gets_better(faces: Path, tmp_path: Path) -> None:
    """At this learning rate nothing is learned: the first epoch remains the best one, or nearly so."""
    settings = override(QUICK, ["epochs=40", "learning_rate=1e-12", "patience=2"])
    said = Lines()
    state = train(replace(request(faces, tmp_path / "run"), settings=settings), report=said)
    assert state.epoch == state.best_epoch + 2 < 40
    assert f"no epoch since {state.best_epoch} was better on validation (patience)" in said.lines
    again = train(replace(request(faces, tmp_path / "run"), settings=settings, resume=True))
    assert again.epoch == state.epoch


def test_methods_that_judge_single_images_do_not_take_mixed_ones(faces: Path, tmp_path: Path) -> None:
    settings = override(QUICK, ["mixup=0.2"])
    with pytest.raises(
        InputError, match="'scn' judges each image by itself.*Allowed with mixup or cutmix: arbex, poster"
    ):
        train(replace(request(faces, tmp_path / "run"), method="scn", settings=settings))
    assert not (tmp_path / "run").exists()


def test_the_token_classifier_is_not_part_of_the_model(faces: Path, tmp_path: Path) -> None:
    chosen = request(faces, tmp_path / "run", epochs=1)
    train(replace(chosen, settings=replace(chosen.settings, lambda_tokens=1.0)))
    names = load_run(tmp_path / "run").state_dict()
    assert not [n for n in names if "classify_tokens" in n]
    assert all("tokens" in m for m in metrics(tmp_path / "run"))
