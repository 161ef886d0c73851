"""The order of the packages inside ``arbex``: a module imports only from its own layer or from a lower one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = (
    ("errors", "spec", "progress"),
    ("files", "images", "settings"),
    ("models", "data", "synth"),
    ("methods",),
    ("checkpoint", "prediction"),
    ("reference", "evaluation", "weights"),
    ("training",),
    ("experiments",),
    ("api",),
    ("cli",),
)
"""Packages and modules of ``arbex``, from the lowest layer to the highest; others count as part of the lowest."""

HEIGHT = {name: height for height, layer in enumerate(LAYERS) for name in layer}


def imported(tree: ast.AST) -> set[str]:
    """Returns the packages and modules of ``arbex`` that a file imports, at the top or inside a function."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= (
                {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "arbex" else {node.module}
            )
    parts = (name.split(".") for name in names)
    return {part[1] for part in parts if part[0] == "arbex" and len(part) > 1} - {"__version__"}


def upward(name: str, tree: ast.AST) -> set[str]:
    """Returns the imports that lie above the layer of ``name``."""
    return {other for other in imported(tree) if HEIGHT.get(other, 0) > HEIGHT.get(name, 0)}


FILES = [
    file
    for file in sorted((ROOT / "arbex").rglob("*.py"))
    if not file.stem.startswith("__") or file.parent.name != "arbex"
]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_point_downward(file: Path) -> None:
    name = file.relative_to(ROOT / "arbex").with_suffix("").parts[0]
    assert upward(name, ast.parse(file.read_text())) == set()


def test_the_rule_can_fail() -> None:
    assert upward("methods", ast.parse("def f():\n    from arbex.training.loop import train")) == {"training"}
    assert upward("models", ast.parse("from arbex import checkpoint")) == {"checkpoint"}
