"""Several processes train as one does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from arbex.errors import InputError
from arbex.training.devices import share_of_batch

STEADY = [
    "--set",
    "augmentation=none",
    "--set",
    "lambda_tokens=1",
    "--set",
    "dropout=0",
    "--set",
    "images_per_class=16",
    "--set",
    "batch_size=16",
]


def train(faces: Path, out: Path, *arguments: str, processes: int = 1) -> list[dict[str, float]]:
    """Trains in fresh processes and returns the lines of the metrics."""
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)] if processes > 1 else []
    command = [sys.executable, *launcher, "-m", "arbex", "train", "--data", str(faces), "--out", str(out)]
    done = subprocess.run([*command, *STEADY, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.lab
@pytest.mark.parametrize(("precision", "tolerance"), [("32-true", 1e-4), ("bf16-mixed", 2e-2)])
def test_two_processes_have_the_losses_of_one_at_the_same_global_batch(
    precision: str, tolerance: float, faces: Path, tmp_path: Path
) -> None:
    # From trained weights: random ones have gradients near rounding error, which Adam blows up to full steps.
    train(faces, tmp_path / "start", "--epochs", "10", "--set", "images_per_class=32")
    arguments = ["--epochs", "2", "--init", str(tmp_path / "start"), "--set", "learning_rate=1e-4"]
    arguments += ["--set", f"precision={precision}", "--set", "early_learning=3"]
    one = train(faces, tmp_path / "one", *arguments)
    two = train(faces, tmp_path / "two", *arguments, processes=2)
    assert one[0]["loss"] > one[1]["loss"]
    for alone, shared in zip(one, two, strict=True):
        for name in ("loss", "class", "center", "tokens", "early_learning", "val_nll"):
            assert shared[name] == pytest.approx(alone[name], abs=tolerance), name


def test_processes_share_a_batch_evenly() -> None:
    assert share_of_batch(64, 4) == 16
    with pytest.raises(InputError, match="cannot be divided among 3 processes.*batch_size=63"):
        share_of_batch(64, 3)
    with pytest.raises(InputError, match="at least 2"):
        share_of_batch(4, 4)


def test_lightning_prints_nothing_beside_what_training_says() -> None:
    code = "from arbex.training.devices import make_fabric; make_fabric(1, 'bf16-mixed')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout + done.stderr == ""
