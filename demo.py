"""``make demo``: from an empty folder to verified bundles for five targets, with the commands a user would type."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = Path("demo")
"""Folder of the demo, relative to HERE, where all commands run, so that they read as a user would type them."""

FACES, RUN, BUNDLES, LFW, ASTRONAUT = (ROOT / n for n in ("faces", "run", "bundles", "lfw", "astronaut.png"))
WANTED_ACCURACY = 0.85
"""Smallest accuracy on people whom the model has not seen."""

ASTRONAUT_FACE = (slice(20, 190), slice(140, 310))
"""Rows and columns of the face in scikit-image's astronaut."""


def arbex(command: str) -> None:
    """Runs an arbex command, shows it first, and ends the demo if it fails."""
    print(f"\n$ arbex {command}", flush=True)
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "arbex", *shlex.split(command)], check=False)
    print(f"  ({time.monotonic() - started:.0f} s)", flush=True)
    if done.returncode:
        sys.exit(done.returncode)


def write_real_faces() -> None:
    """Writes the real faces in the scikit-image wheel: 100 of LFW, and one astronaut (public domain)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from skimage import data

        faces, astronaut = data.lfw_subset()[:100], data.astronaut()
    LFW.mkdir(parents=True)
    for i, face in enumerate(faces):
        Image.fromarray((np.clip(face, 0, 1) * 255).astype(np.uint8)).save(LFW / f"{i:03d}.png")
    Image.fromarray(astronaut[ASTRONAUT_FACE]).save(ASTRONAUT)


def check_accuracy() -> None:
    """Ends the demo if the model is not accurate enough."""
    command = [sys.executable, "-m", "arbex", "evaluate", str(RUN), "--data", str(FACES), "--json"]
    accuracy = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["accuracy"]
    if accuracy < WANTED_ACCURACY:
        sys.exit(f"The accuracy {accuracy:.3f} on unseen people is below {WANTED_ACCURACY}.")


def main() -> None:
    """Runs all steps."""
    started = time.monotonic()
    os.chdir(HERE)
    shutil.rmtree(ROOT, ignore_errors=True)
    ROOT.mkdir()
    write_real_faces()
    arbex(f"synth {FACES} --images 4000 --subjects 40 --seed 1")
    arbex(f"train --data {FACES} --out {RUN} --preset tiny")
    arbex(f"evaluate {RUN} --data {FACES}")
    check_accuracy()
    arbex(f"export {RUN} --target all --precision fp32 --precision int8 --out {BUNDLES}")
    bundles = " ".join(str(BUNDLES / name) for name in ("jetson", "iphone", "android", "rtx", "cpu"))
    arbex(f"verify {bundles} --data {FACES} --report {ROOT / 'parity.html'}")
    # A model that was trained on drawings is unsure of real faces: many answers are close calls, and some of them may
    # flip, about one in ten. The distributions must still be close.
    arbex(f"verify {bundles} --data {LFW} --min-agreement 0.8")
    arbex(f"run {BUNDLES / 'cpu'} {ASTRONAUT}")
    arbex(f"run {BUNDLES / 'android'} {ASTRONAUT} --artifact int8")
    arbex(f"bench {BUNDLES / 'cpu'} {BUNDLES / 'android'}")
    print(f"\nDone in {time.monotonic() - started:.0f} s. {ROOT / 'parity.html'} is the parity report. Try next:")
    print(f"  arbex inspect {BUNDLES / 'jetson'}")
    print(f"  arbex run {BUNDLES / 'cpu'} YOUR_FACES/ --json")
    print("  arbex train --data YOUR_DATA --preset mobile && arbex export --target android")
    print("  arbex doctor")


if __name__ == "__main__":
    main()
