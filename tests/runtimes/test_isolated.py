"""A child Python finds what its parent finds, and nothing that merely lies in the working folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runtimes import isolated
from tests.runtimes.planting import executed, plant


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_child_runs_nothing_of_the_working_folder(tmp_path: Path) -> None:
    plant(tmp_path, "json", "numpy", "linecache", "runpy", "runtimes", "site")
    code = "import json, linecache, numpy, runtimes.bundle, sys; print('' in sys.path, numpy.__version__)"
    assert run(isolated.python(code), tmp_path).startswith("False ")
    assert executed(tmp_path) == []


def test_the_child_finds_what_the_parent_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "only_here.py").write_text("value = 'found'\n")
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    assert run(isolated.python("import only_here; print(only_here.value)"), tmp_path) == "found"


def test_the_child_takes_arguments_as_they_are(tmp_path: Path) -> None:
    arguments = ("-x", "a b", "'quoted'", "")
    assert run(isolated.python("import sys; print(sys.argv[1:])", *arguments), tmp_path) == str(list(arguments))


def test_a_path_with_quotes_and_other_letters_is_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = tmp_path / 'it\'s "mine" ☃'
    odd.mkdir()
    (odd / "only_here.py").write_text("value = 'found'\n")
    monkeypatch.syspath_prepend(str(odd))
    assert run(isolated.python("import only_here; print(only_here.value)"), tmp_path) == "found"


PARENT = """
import subprocess
from runtimes import isolated
code = "import runtimes.bundle; print(runtimes.__file__); import %s"
done = subprocess.run(isolated.python(code), capture_output=True, text=True)
print(done.stdout.strip(), done.stderr.strip().rpartition(":")[2])
"""


@pytest.mark.parametrize("named", [False, True], ids=["not named", "named in PYTHONPATH"])
def test_python_m_hands_its_working_folder_on_only_where_the_user_named_it(
    named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(isolated.__file__).parent.parent
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{root}" if named else str(root))
    (tmp_path / "parent.py").write_text(PARENT % "mine")
    plant(tmp_path, "mine")
    said = run([sys.executable, "-m", "parent"], tmp_path)
    assert executed(tmp_path) == (["mine"] if named else [])
    assert ("No module named 'mine'" in said) is not named


def test_a_checkout_that_is_not_installed_works_from_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There, the working folder is where the toolkit itself comes from; what Python brings has precedence over it."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    root = Path(isolated.__file__).parent.parent
    for package in ("arbex", "runtimes"):
        (tmp_path / package).symlink_to(root / package)
    (tmp_path / "parent.py").write_text(PARENT % "colorsys")
    plant(tmp_path, "colorsys")
    assert run([sys.executable, "-m", "parent"], tmp_path) == str(tmp_path / "runtimes" / "__init__.py")
    assert executed(tmp_path) == []
