"""A training that is killed at any moment goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from arbex.checkpoint import load_run

KILLS = 6
SETTINGS = ["--epochs", "4", "--set", "images_per_class=24", "--set", "batch_size=24"]


def start(faces: Path, out: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "arbex", "train", "--data", str(faces), "--out", str(out), *SETTINGS, *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_equal(whole: Path, parts: Path) -> None:
    assert losses(parts) == pytest.approx(losses(whole), abs=1e-6)
    a, b = load_run(whole).state_dict(), load_run(parts).state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


def wait_for(process: subprocess.Popen[str], folder: Path) -> None:
    """Waits until a process touches its run, or ends."""
    before = newest(folder)
    while process.poll() is None and newest(folder) == before:
        time.sleep(0.002)


def newest(folder: Path) -> float:
    return max((os.stat(entry).st_mtime_ns for entry in os.scandir(folder)), default=0) if folder.is_dir() else 0


@pytest.mark.lab
def test_kills_change_nothing(faces: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    process = start(faces, whole)
    wait_for(process, whole)
    began = time.monotonic()
    finish(process)
    duration = time.monotonic() - began  # of the training proper
    moments, kills, finished = random.Random(0), 0, 0
    while kills < KILLS:
        process = start(faces, parts, *(["--resume"] if (parts / "resume.safetensors").is_file() else []))
        wait_for(process, parts)
        time.sleep(moments.uniform(0, 0.6) * duration)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
        else:
            finish(process)
            assert_equal(whole, parts)
            finished += 1
        if finished and process.returncode == 0 or not (parts / "resume.safetensors").is_file():
            shutil.rmtree(parts, ignore_errors=True)  # over, or killed before there was anything to resume
    finish(start(faces, parts, *(["--resume"] if (parts / "resume.safetensors").is_file() else [])))
    assert_equal(whole, parts)
