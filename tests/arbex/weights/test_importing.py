"""Published checkpoints: every tensor finds its place, the numbers stay, and no code of a file runs."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from arbex.checkpoint import load_run, open_run
from arbex.cli import invoke
from arbex.errors import InputError, RunError
from arbex.models import BASE, Encoder
from arbex.spec import IMAGENET_MEAN, IMAGENET_STD
from arbex.weights.importing import RAF_DB, LabelsWantedError, import_weights
from arbex.weights.matching import match
from arbex.weights.torch_file import read_weights_file
from benchmarks.plain_poster import PlainPoster
from benchmarks.plain_pyramid import PlainPyramid

LABELS = ",".join(RAF_DB)

Network = TypeVar("Network", bound=nn.Module)


@pytest.fixture(scope="module")
def public() -> PlainPoster:
    """POSTER++ with random weights in which no layer is left at a value that hides a mistake."""
    torch.manual_seed(0)
    return with_telling_weights(PlainPoster().eval())


def with_telling_weights(model: Network) -> Network:
    """Returns a model after giving values of their own to scales, offsets, slopes and statistics."""
    for name, parameter in model.named_parameters():
        if "gamma" in name:
            nn.init.normal_(parameter, 0.5, 0.2)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None
            assert module.running_var is not None
            assert module.num_batches_tracked is not None
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            module.num_batches_tracked.fill_(7)
        if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.LayerNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
        if isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0, 0.5)
    return model


@pytest.fixture(scope="module")
def whole(public: PlainPoster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as the public training script saves it, from data-parallel training."""
    path = tmp_path_factory.mktemp("public") / "raf-db-model.pth"
    weights = {f"module.{name}": tensor for name, tensor in public.state_dict().items()}
    torch.save({"epoch": 42, "state_dict": weights, "best_acc": torch.tensor(92.21)}, path)
    return path


@pytest.fixture(scope="module")
def imported(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "poster"
    import_weights(whole, out, labels=RAF_DB)
    return out


@pytest.fixture
def script_class() -> Iterator[Any]:
    """A class of a training script, as it is pickled when the script is ``__main__``."""

    class RecorderMeter:
        def __init__(self) -> None:
            self.epoch_losses = np.zeros((3, 2), dtype=np.float32)
            self.best = np.float64(0.9)

    RecorderMeter.__module__, RecorderMeter.__qualname__ = "__main__", "RecorderMeter"
    main = sys.modules["__main__"]
    main.RecorderMeter = RecorderMeter  # type: ignore[attr-defined]
    yield RecorderMeter
    del main.RecorderMeter


def landmark_weights(public: PlainPoster) -> dict[str, Tensor]:
    return dict(public.face_landback.state_dict())


def image_weights(public: PlainPoster, form: str) -> dict[str, Tensor]:
    """IR50 as published: three stages, four, or one flat body."""
    weights = dict(public.ir_back.state_dict())
    if form == "three":
        return weights
    weights |= {f"body4.{i}.res_layer.1.weight": torch.zeros(512, 512, 3, 3) for i in range(3)}
    if form == "four":
        return weights
    offsets = {"body1": 0, "body2": 3, "body3": 7, "body4": 21}
    flat = {}
    for name, tensor in weights.items():
        stage, _, rest = name.partition(".")
        if stage in offsets:
            block, _, rest = rest.partition(".")
            name = f"body.{offsets[stage] + int(block)}.{rest}"
        flat[name] = tensor
    return flat


def test_the_plain_network_has_exactly_the_published_tensors(public: PlainPoster) -> None:
    with (Path(__file__).parent / "poster_keys.tsv").open() as stream:
        published = {row["key"]: (row["shape"], row["dtype"]) for row in csv.DictReader(stream, delimiter="\t")}
    ours = {
        name: ("x".join(map(str, tensor.shape)) or "scalar", str(tensor.dtype).removeprefix("torch."))
        for name, tensor in public.state_dict().items()
    }
    assert len(published) == 747
    assert ours == published


@pytest.mark.slow
def test_the_numbers_stay(public: PlainPoster, imported: Path) -> None:
    model = load_run(imported)
    images = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        vector, logits = public.encode(images), public(images)
        assert vector.abs().mean() > 0.1
        assert (model.encode(images) - vector).abs().max() < 1e-5
        assert (model(images).logits - logits).abs().max() < 1e-5


def test_every_tensor_has_its_place(whole: Path, imported: Path) -> None:
    file, model = read_weights_file(whole), load_run(imported)
    matching, ours = match(file, model), model.state_dict()
    with (Path(__file__).parent / "poster_keys.tsv").open() as stream:
        use = {row["key"]: row["use"] for row in csv.DictReader(stream, delimiter="\t")}
    derived = {f"attn{i}.relative_position_index" for i in (1, 2, 3)}
    assert set(matching.unused) == {name for name, how in use.items() if how == "unused"} | derived
    assert set(matching.renamed) == set(use) - set(matching.unused)
    assert set(matching.renamed.values()) == set(ours)  # nothing of ours is left, nothing is filled twice
    assert len(matching.renamed) == len(ours) == 708
    for name, place in matching.renamed.items():
        assert torch.equal(ours[place], file.tensors[name]), name
    assert (matching.unknown, matching.missing, matching.conflicts, matching.coverage) == ((), (), (), 1.0)


def test_the_size_is_that_of_the_paper_and_all_of_it_is_used(imported: Path) -> None:
    model = load_run(imported).requires_grad_(True)
    parameters = sum(p.numel() for p in model.parameters())
    assert abs(parameters / 43.75e6 - 1) < 1e-3
    model(torch.randn(1, 3, 224, 224)).logits.sum().backward()
    # All take part in the answer. The backbone for landmarks passes no gradient: it is checked by its levels.
    without = [n for n, p in model.named_parameters() if p.grad is None and not n.startswith("encoder.landmarks.")]
    assert without == []
    called: set[str] = set()
    assert isinstance(model.encoder, Encoder)
    for name, module in model.encoder.landmarks.named_modules():
        module.register_forward_hook(lambda *_, name=name: called.add(name))
    model(torch.randn(1, 3, 224, 224))
    owners = {name.rpartition(".")[0] for name, _ in model.encoder.landmarks.named_parameters()}
    assert len(owners) > 50
    assert owners <= called


def test_a_run_remembers_where_it_came_from(imported: Path, whole: Path) -> None:
    run = open_run(imported)
    assert run.epoch == 42
    assert run.config.method == "poster"
    assert run.config.labels == RAF_DB
    assert run.config.data["weights"] == whole.name
    assert run.config.encoder == BASE


@pytest.mark.slow
@pytest.mark.parametrize("form", ["three", "four", "flat"])
@pytest.mark.parametrize("legacy", [False, True])
def test_ir50_in_all_its_forms(form: str, legacy: bool, public: PlainPoster, tmp_path: Path) -> None:
    path = tmp_path / "ir50.pth"
    torch.save(image_weights(public, form), path, _use_new_zipfile_serialization=not legacy)
    imported = import_weights(path, tmp_path / "run")
    matching = imported.matching
    assert (matching.source.name, matching.missing, matching.unknown) == ("IR50", (), ())
    assert not imported.trained
    assert open_run(tmp_path / "run").epoch == 0
    model, images = load_run(tmp_path / "run"), torch.randn(1, 3, 224, 224)
    assert isinstance(model.encoder, Encoder)
    with torch.inference_mode():
        for ours, theirs in zip(model.encoder.image(images[:, :, ::2, ::2]), public.ir_back(images), strict=True):
            assert (ours - theirs).abs().max() < 1e-5 * max(1.0, float(theirs.abs().max()))


def test_mobilefacenet_as_published(public: PlainPoster, tmp_path: Path) -> None:
    path = tmp_path / "mobilefacenet_model_best.pth.tar"
    content = {"state_dict": landmark_weights(public), "epoch": 7, "optimizer": {"state": {}, "param_groups": []}}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    imported = import_weights(path, tmp_path / "run")
    assert imported.matching.coverage == 1.0
    model, images = load_run(tmp_path / "run"), torch.randn(1, 3, 112, 112)
    assert isinstance(model.encoder, Encoder)
    with torch.inference_mode():
        for ours, theirs in zip(model.encoder.landmarks(images), public.face_landback(images), strict=True):
            assert (ours - theirs).abs().max() < 1e-5 * max(1.0, float(theirs.abs().max()))


@pytest.mark.parametrize("legacy", [False, True])
def test_objects_of_a_training_script_are_passed_over(
    legacy: bool, public: PlainPoster, tmp_path: Path, script_class: Any
) -> None:
    path = tmp_path / "checkpoint.pth"
    content = {"state_dict": landmark_weights(public), "recorder": script_class(), "best": np.float32(0.5)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    assert len(read_weights_file(path).tensors) == len(content["state_dict"])


class Payload:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(("function", "name"), [(os.system, "system"), (exec, "exec"), (os.mkdir, "mkdir")])
def test_code_in_a_file_does_not_run(
    function: Any, name: str, legacy: bool, public: PlainPoster, tmp_path: Path
) -> None:
    written = tmp_path / "written"
    argument = {
        "system": f"touch {written}",
        "exec": f"with open({str(written)!r}, 'w'): pass",
        "mkdir": str(written),
    }[name]
    path = tmp_path / "evil.pth"
    content = {"state_dict": landmark_weights(public), "recorder": Payload(function, argument)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(RunError, match=rf"is refused: it holds \S*{name}, which only running code"):
        import_weights(path, tmp_path / "run")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["evil.pth"]
    torch.load(path, weights_only=False)  # the payload is real: what others do runs it
    assert written.exists()


@pytest.mark.parametrize("content", [b"", b"no weights", b"\x80\x02}q\x00.", b"PK\x03\x04broken"])
def test_what_is_no_torch_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(RunError, match=r"a\.pth (cannot be read|holds no weights)") as caught:
        read_weights_file(tmp_path / "a.pth")
    assert "weights_only" not in str(caught.value)  # torch's message advises to run the file's code


def test_an_optimizer_is_not_a_model(tmp_path: Path) -> None:
    """POSTER++ saves the optimizer alone as its best model."""
    torch.save(torch.optim.Adam([nn.Parameter(torch.zeros(2))]).state_dict(), tmp_path / "model_best.pth")
    with pytest.raises(RunError, match="state of an optimizer, but no weights"):
        read_weights_file(tmp_path / "model_best.pth")


def test_an_unknown_network_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "linear.pth")
    with pytest.raises(RunError, match="none of the known checkpoints"):
        import_weights(tmp_path / "linear.pth", tmp_path / "run")


def test_a_file_that_fills_too_little_is_refused(public: PlainPoster, tmp_path: Path) -> None:
    weights = {n: t for n, t in public.state_dict().items() if n.startswith(("ir_back.", "face_landback."))}
    torch.save({**weights, "pyramid_fuse.norm.weight": torch.ones(512)}, tmp_path / "poster_v1.pth")
    with pytest.raises(RunError, match=r"fills only \d+% of encoder: .* is missing"):
        import_weights(tmp_path / "poster_v1.pth", tmp_path / "run")
    assert [p.name for p in tmp_path.iterdir()] == ["poster_v1.pth"]


def test_other_shapes_half_precision_and_missing_counters(public: PlainPoster, tmp_path: Path) -> None:
    weights = {n: t.half() if t.is_floating_point() else t for n, t in landmark_weights(public).items()}
    weights = {n: t for n, t in weights.items() if not n.endswith("num_batches_tracked")}
    weights["conv1.prelu.weight"] = torch.zeros(3)
    weights["strange"] = torch.zeros(1)
    torch.save(weights, tmp_path / "half.pth")
    matching = match(read_weights_file(tmp_path / "half.pth"), wrapped(Encoder(BASE)))
    assert [str(c) for c in matching.conflicts] == ["conv1.prelu.weight is [3], not [64]"]
    assert matching.missing == ("encoder.landmarks.stem.0.2.weight",)
    assert matching.unknown == ("strange",)
    assert 0.9 < matching.coverage < 1
    assert {t.dtype for t in matching.tensors.values()} == {torch.float32}


def wrapped(encoder: Encoder) -> nn.Module:
    module = nn.Module()
    module.encoder = encoder
    return module


def test_values_that_are_not_finite_are_refused(public: PlainPoster, tmp_path: Path) -> None:
    weights = {n: t.clone() for n, t in landmark_weights(public).items()}
    weights["conv1.prelu.weight"][0] = torch.nan
    torch.save(weights, tmp_path / "nan.pth")
    with pytest.raises(RunError, match=r"conv1\.prelu\.weight .* not finite"):
        import_weights(tmp_path / "nan.pth", tmp_path / "run")


def test_the_order_of_classes_is_asked_for(whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LabelsWantedError, match="has 7 classes"):
        import_weights(whole, tmp_path / "run")
    with pytest.raises(InputError, match="has 2 names; the classifier"):
        import_weights(whole, tmp_path / "run", labels=("a", "b"))
    with pytest.raises(InputError, match="--labels is a,a,b,c,d,e,f. Allowed: 2 or more different names."):
        import_weights(whole, tmp_path / "run", labels=("a", "a", "b", "c", "d", "e", "f"))
    assert invoke(["import-weights", str(whole), "--out", str(tmp_path / "run")], "arbex") == 2
    assert f"--labels {LABELS}" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_command_says_what_it_did(
    whole: Path, public: PlainPoster, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["import-weights", str(whole), "--out", str(tmp_path / "run"), "--labels", LABELS]
    assert invoke([*arguments, "--json"], "arbex") == 0
    outcome = json.loads(capfd.readouterr().out)
    assert outcome["trained"]
    assert len(outcome["matched"]) == 708
    assert outcome["missing"] == []
    torch.save(landmark_weights(public), tmp_path / "landmarks.pth")
    assert invoke(["import-weights", str(tmp_path / "landmarks.pth"), "--out", str(tmp_path / "part")], "arbex") == 0
    captured = capfd.readouterr()
    assert "MobileFaceNet" in captured.out
    assert "--init" in captured.err
    assert invoke([*arguments], "arbex") == 2  # the folder holds something now


# POSTER, the first version


def save_pyramid(path: Path, model: PlainPyramid) -> Path:
    """Writes a checkpoint as the public training script of POSTER does."""
    weights = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"iter": 216, "model_state_dict": weights, "optimizer_state_dict": {}}, path)
    return path


@pytest.mark.parametrize(("mixing", "keys"), [(True, 981), (False, 957)])
def test_a_poster_checkpoint_answers_as_the_public_network(mixing: bool, keys: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = with_telling_weights(PlainPyramid(depth=4, mixing=mixing).eval())
    nn.init.normal_(model.pyramid_fuse.pos_embed, std=0.5)
    assert len(model.state_dict()) == keys
    imported = import_weights(save_pyramid(tmp_path / "poster.pth", model), tmp_path / "run", labels=RAF_DB)
    assert (imported.matching.source.name, imported.matching.coverage, imported.trained) == ("POSTER", 1.0, True)
    matching = imported.matching
    assert (matching.unknown, matching.missing, matching.conflicts) == ((), (), ())
    run = open_run(tmp_path / "run")
    assert (run.config.preset, run.epoch) == ("poster-v1", 216)
    images = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        ours, theirs = load_run(tmp_path / "run")(images).logits, model(images)
    assert (theirs[0] - theirs[1]).abs().max() > 1e-3
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_a_network_for_blue_green_red_takes_red_green_blue(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = with_telling_weights(PlainPyramid(depth=1).eval())
    checkpoint = save_pyramid(tmp_path / "poster.pth", model)
    import_weights(checkpoint, tmp_path / "run", labels=RAF_DB, bgr=True)
    ours = load_run(tmp_path / "run")
    pixels = torch.rand(2, 3, 224, 224)  # red first
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    own_mean, own_std = (torch.tensor(v).view(1, 3, 1, 1) for v in (ours.preprocessing.mean, ours.preprocessing.std))
    with torch.inference_mode():
        theirs = model((pixels.flip(1) - mean) / std)
        found = ours((pixels - own_mean) / own_std).logits
        wrong = ours((pixels - mean) / std).logits
    assert torch.allclose(found, theirs, atol=1e-5)
    assert not torch.allclose(wrong, theirs, atol=1e-4)


def test_the_command_says_what_order_of_channels_means(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    checkpoint = save_pyramid(tmp_path / "poster.pth", PlainPyramid(depth=1).eval())
    for flag, said in (([], True), (["--bgr"], False)):
        out = tmp_path / f"run{len(flag)}"
        assert invoke(["import-weights", str(checkpoint), "--out", str(out), "--labels", LABELS, *flag], "arbex") == 0
        assert ("import it with --bgr" in capfd.readouterr().err) == said
