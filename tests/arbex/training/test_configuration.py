"""What a run starts from: given weights, windows, image sizes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from arbex.checkpoint import load_run, open_run
from arbex.errors import InputError, RunError
from arbex.models import BASE, CompactEncoder, Encoder, EncoderConfig
from arbex.models.encoder import CrossFusionLevel
from arbex.settings import PRESET_SETTINGS, override
from arbex.spec import digest_file
from arbex.training.configuration import TrainRequest, encoder_config, with_precision
from arbex.training.devices import fitting_precision
from arbex.training.loop import train
from tests.reporters import Lines

UNTRAINED = override(PRESET_SETTINGS["tiny"], ["epochs=0"])


def request(faces: Path, out: Path, **change: object) -> TrainRequest:
    return TrainRequest(data=str(faces), out=out, preset="tiny", method="arbex", settings=UNTRAINED, **change)  # type: ignore[arg-type]


def test_a_run_starts_from_another(faces: Path, run: Path, tmp_path: Path) -> None:
    train(request(faces, tmp_path / "new", init=(run,)))
    old, new = load_run(run).state_dict(), load_run(tmp_path / "new").state_dict()
    assert all(torch.equal(old[name], new[name]) for name in old)
    assert open_run(tmp_path / "new").config.data["init"] == digest_file(run / "best.safetensors")


def test_a_head_whose_classes_have_another_order_is_not_taken_over(faces: Path, run: Path, tmp_path: Path) -> None:
    """Its outputs would stand for other classes: the model would start by being wrong."""
    other, said = tmp_path / "other", Lines()
    shutil.copytree(run, other)
    content = json.loads((other / "config.json").read_text())
    content["labels"].reverse()
    (other / "config.json").write_text(json.dumps(content))
    train(request(faces, tmp_path / "new", init=(other,)), report=said)
    old, new = load_run(run).state_dict(), load_run(tmp_path / "new").state_dict()
    assert all(torch.equal(old[name], new[name]) for name in old if name.startswith("encoder."))
    assert not torch.equal(old["head.anchors"], new["head.anchors"])
    assert not torch.equal(old["head.reduce.weight"], new["head.reduce.weight"])
    reason = "since the classes there are surprise, sadness, happiness, fear, disgust, anger, neutral"
    assert [line for line in said.lines if line.endswith(f"the head starts anew {reason}")]


def test_the_head_in_a_file_that_does_not_name_its_classes_is_not_taken_over(
    faces: Path, run: Path, tmp_path: Path
) -> None:
    said = Lines()
    train(request(faces, tmp_path / "new", init=(run / "best.safetensors",)), report=said)
    old, new = load_run(run).state_dict(), load_run(tmp_path / "new").state_dict()
    assert not torch.equal(old["head.reduce.weight"], new["head.reduce.weight"])
    assert [line for line in said.lines if line.endswith("since the file does not name its classes")]


def test_what_starts_anew_is_named(faces: Path, run: Path, tmp_path: Path) -> None:
    """The attention of an input of another size has another window."""
    for name, change, words in (
        ("size", {"image_size": 48}, "1 of the encoder start anew: encoder.attention.position.table"),
        ("anchors", {"anchors": 3}, "1 of the head start anew: head.anchors"),
        ("head", {"new_head": True}, "the head starts anew (--new-head)"),
    ):
        said = Lines()
        train(request(faces, tmp_path / name, init=(run,), **change), report=said)
        assert [line for line in said.lines if line.startswith(f"{run}: arbex, ") and line.endswith(words)], said.lines


def test_another_method_takes_over_the_encoder_alone(faces: Path, run: Path, tmp_path: Path) -> None:
    train(replace(request(faces, tmp_path / "new", init=(run,)), method="poster"))
    old, new = load_run(run).state_dict(), load_run(tmp_path / "new").state_dict()
    assert all(torch.equal(old[name], new[name]) for name in new if name.startswith("encoder."))
    assert "head.classify.weight" in new


def test_weights_of_another_width_are_refused_and_nothing_is_written(faces: Path, run: Path, tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match="fills only.*not filled, encoder.*Give the preset or the backbone that it was trained with"
    ):
        train(replace(request(faces, tmp_path / "new", init=(run,)), preset="mobile"))
    assert not (tmp_path / "new").exists()


def test_given_landmark_weights_stay_frozen_in_base_and_fresh_ones_learn(faces: Path, tmp_path: Path) -> None:
    base = replace(request(faces, tmp_path), preset="base")
    for landmarks in (True, False):
        config = encoder_config(base, landmarks=landmarks)
        assert isinstance(config, EncoderConfig)
        assert config.freeze_landmarks == landmarks


def test_a_later_file_wins(faces: Path, run: Path, tmp_path: Path) -> None:
    tensors = {name: tensor.clone() for name, tensor in load_run(run).state_dict().items()}
    tensors["encoder.attention.position.table"].fill_(7)
    save_file(tensors, tmp_path / "other.safetensors")
    train(request(faces, tmp_path / "new", init=(run, tmp_path / "other.safetensors")))
    assert (load_run(tmp_path / "new").state_dict()["encoder.attention.position.table"] == 7).all()


def test_windows_are_configuration(faces: Path, tmp_path: Path) -> None:
    train(request(faces, tmp_path / "run", windows=(4,)))
    model = load_run(tmp_path / "run")
    assert isinstance(model.encoder, CompactEncoder)
    assert model.encoder.config.window == 4
    assert model(torch.zeros(1, 3, 64, 64)).corrected.shape == (1, 7)
    for windows in ((5,), (8, 8, 4), (16,)):
        with pytest.raises(InputError, match="do not fit maps of"):
            encoder_config(request(faces, tmp_path, windows=windows), landmarks=False)


def test_windows_of_the_paper_are_smaller_than_the_map() -> None:
    """Section 3.2: several windows a map, each with M tokens; the landmark map is pooled to one window."""
    config = replace(BASE, windows=(7, 7, 7))
    encoder = Encoder(config).eval()
    with torch.no_grad():
        assert encoder(torch.zeros(1, 3, 224, 224)).shape == (1, 768)
    level = encoder.levels[0]
    assert isinstance(level, CrossFusionLevel)
    assert level.attention.position.table.shape == (13**2, 2)


def test_the_precision_fits_the_machine_unless_it_is_given(faces: Path, tmp_path: Path) -> None:
    asked = request(faces, tmp_path)
    assert asked.settings.precision == "auto"
    assert with_precision(asked).settings.precision == fitting_precision() in ("32-true", "bf16-mixed")
    given = replace(asked, settings=override(UNTRAINED, ["precision=16-mixed"]))
    assert with_precision(given) == given


def test_a_resumed_run_keeps_its_precision_on_another_machine(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    for precision in ("bf16-mixed", "32-true"):  # the machine on which it starts, and the other one
        monkeypatch.setattr("arbex.training.configuration.fitting_precision", lambda precision=precision: precision)
        settings = override(PRESET_SETTINGS["tiny"], ["epochs=1", "images_per_class=8", "batch_size=8"])
        train(replace(request(faces, out, resume=out.exists()), settings=settings))
        assert open_run(out).config.settings.precision == "bf16-mixed"


@pytest.mark.parametrize(
    ("features", "precision"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, "bf16-mixed"),
        ({"avx512_bf16": False, "amx_bf16": True}, "bf16-mixed"),
        ({"avx512_f": True}, "32-true"),
        ({"neon": True, "bf16": True}, "32-true"),
    ],
)
def test_bfloat16_needs_instructions_for_it(
    features: dict[str, bool], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features, raising=False)
    assert fitting_precision() == precision
