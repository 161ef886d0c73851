"""A training that is killed at any moment goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from arbex.checkpoint import load_run

KILLS = 10
SETTINGS = ["--epochs", "6", "--set", "images_per_class=24", "--set", "batch_size=24"]


def command(faces: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "arbex", "train", "--data", str(faces), "--out", str(out), *SETTINGS]


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_ten_kills_change_nothing(faces: Path, tmp_path: Path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    started = time.monotonic()
    subprocess.run(command(faces, whole), check=True, capture_output=True)
    duration = time.monotonic() - started
    moments = random.Random(0)
    kills = 0
    while kills < KILLS:
        resume = ["--resume"] if (parts / "resume.safetensors").is_file() else []
        if not resume and parts.is_dir():  # killed before there was anything to resume
            for file in parts.iterdir():
                file.unlink()
        process = subprocess.Popen(
            [*command(faces, parts), *resume], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        try:
            _, errors = process.communicate(timeout=moments.uniform(0.3, 1.0) * duration)
            assert process.returncode == 0, errors
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
            continue
        if kills < KILLS:  # finished early: the moments left are those of another training
            assert losses(parts) == pytest.approx(losses(whole), abs=1e-6)
            for file in parts.iterdir():
                file.unlink()
    if (parts / "resume.safetensors").is_file():
        subprocess.run([*command(faces, parts), "--resume"], check=True, capture_output=True)
        assert losses(parts) == pytest.approx(losses(whole), abs=1e-6)
        a, b = load_run(whole).state_dict(), load_run(parts).state_dict()
        assert all(torch.equal(a[name], b[name]) for name in a)
