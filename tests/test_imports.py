"""Which package may import which, and what light modules must not load."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIGHT = {
    *("arbex.errors", "arbex.spec", "arbex.images", "arbex.files", "arbex.progress"),
    *("arbex.checks", "arbex.packages", "arbex.provenance", "arbex.replacing"),
    *("arbex.data.groups", "arbex.evaluation.metrics", "arbex.evaluation.resampling"),
}
"""Modules of arbex that need the standard library, NumPy and Pillow at most; the device installs them."""

MAY_IMPORT = {
    "arbex": {"arbex"},
    "runtimes": {"runtimes"},
    "calibration": {"calibration", "arbex"},
    "quantize": {"quantize", "calibration", "arbex"},
    "export": {"export", "quantize", "calibration", "runtimes", "arbex"},
    "arbex.cli": {"arbex", "calibration", "quantize", "export", "runtimes"},
}
TOP = ("arbex.cli", "arbex.api")
"""Command line and library depend on all layers; only ``arbex`` itself imports them, on first use."""

OURS = set(MAY_IMPORT) - {"arbex.cli"}


def imported(tree: ast.AST) -> Iterator[str]:
    """Yields every module that a file imports, at the top or inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def violations(package: str, module: str, tree: ast.AST) -> list[str]:
    """Returns the imports of a module that its layer forbids."""
    layer = "arbex.cli" if module.startswith(TOP) else package
    bad = []
    for name in imported(tree):
        top = name.split(".")[0]
        if top not in OURS:
            continue
        allowed = top in MAY_IMPORT[layer]
        if layer == "runtimes" and top == "arbex":
            allowed = name in LIGHT | {"arbex"} or name.rpartition(".")[0] in LIGHT
        if layer == "arbex" and name.startswith(TOP) and module not in ("arbex", "arbex.__main__"):
            allowed = False
        if not allowed:
            bad.append(name)
    return bad


def modules() -> list[tuple[str, str, Path]]:
    """Returns package, dotted name and file of every module."""
    found = []
    for package in sorted(OURS):
        for file in sorted((ROOT / package).rglob("*.py")):
            name = file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
            found.append((package, name.removesuffix(".__init__"), file))
    return found


@pytest.mark.parametrize(("package", "module", "file"), modules(), ids=lambda v: v if isinstance(v, str) else "")
def test_imports_point_against_the_flow(package: str, module: str, file: Path) -> None:
    assert violations(package, module, ast.parse(file.read_text())) == []


@pytest.mark.parametrize(
    ("package", "code"),
    [
        ("runtimes", "from arbex.models import Encoder"),
        ("arbex", "def f():\n    from runtimes.bundle import open_bundle"),
        ("calibration", "import quantize.recipe"),
        ("quantize", "import export"),
    ],
)
def test_the_rule_can_fail(package: str, code: str) -> None:
    assert violations(package, f"{package}.x", ast.parse(code))


HEAVY = {"torch", "onnx", "onnxruntime", "coremltools", "ai_edge_litert", "tensorrt_rtx", "cv2", "sklearn"}


@pytest.mark.parametrize(
    "module", ["runtimes", "runtimes.verification", "arbex", "arbex.api", "arbex.cli", "arbex.synth", "export.registry"]
)
def test_light_modules_load_nothing_heavy(module: str) -> None:
    code = f"import {module}, sys; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_light_modules_of_arbex_import_only_light_ones() -> None:
    for name in LIGHT:
        tree = ast.parse((ROOT / f"{name.replace('.', '/')}.py").read_text())
        ours = {n for n in imported(tree) if n.startswith("arbex.")} - {"arbex.__version__"}
        assert all(n in LIGHT or n.rpartition(".")[0] in LIGHT for n in ours), name
