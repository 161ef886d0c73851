"""The action for GitHub, its example workflow, the script for other systems and the hook: their steps are run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.runtimes.miniature import write_miniature

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "ci"
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
WORKFLOW: dict[str, Any] = yaml.safe_load((EXAMPLE / ".github/workflows/verify.yml").read_text())


def filled(text: str, inputs: dict[str, str]) -> str:
    """Returns text with the inputs of the action in place of their expressions."""
    return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: inputs[found[1]], text)


def inputs_of(step: dict[str, Any]) -> dict[str, str]:
    """Returns what a step gives to the action, completed by the defaults."""
    given = step.get("with", {})
    assert set(given) <= set(ACTION["inputs"])
    return {name: str(given.get(name, entry.get("default", ""))) for name, entry in ACTION["inputs"].items()}


def run_action(inputs: dict[str, str], folder: Path, *, install: bool = False) -> tuple[int, str]:
    """Runs the shell steps of the action as a runner does.

    Returns:
        The exit code of the first step that failed, or 0, and what was written to the run's page.
    """
    summary = folder / "summary.md"
    summary.touch()
    failed = 0
    for step in ACTION["runs"]["steps"]:
        if "run" not in step or (step["name"] == "Install arbex" and not install):
            continue
        if failed and step.get("if") != "always()":
            continue
        assert "${{" not in step["run"]  # values reach the shell as variables, so that they cannot be commands
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_STEP_SUMMARY": str(summary),
            **{name: filled(value, inputs) for name, value in step.get("env", {}).items()},
        }
        done = subprocess.run(["bash", "-e", "-c", step["run"]], cwd=folder, env=environment, check=False)
        failed = failed or done.returncode
    return failed, summary.read_text()


def example_inputs() -> dict[str, str]:
    """Returns the inputs of the example workflow."""
    (step,) = [s for s in WORKFLOW["jobs"]["verify"]["steps"] if "arbex" in s.get("uses", "")]
    return inputs_of(step)


def test_the_example_workflow_passes_on_good_bundles(tmp_path: Path) -> None:
    for name in ("cpu", "other"):
        write_miniature(tmp_path / "bundles" / name)
    code, page = run_action(example_inputs(), tmp_path)
    assert code == 0
    assert page.startswith("### Parity with PyTorch: passed")
    assert page.count("✅") == 2
    made = {path.name for path in (tmp_path / "arbex-report").iterdir()}
    assert made == {"parity.html", "parity.md", "parity.xml", "parity.json"}
    assert json.loads((tmp_path / "arbex-report/parity.json").read_text())["passed"]


def test_the_example_workflow_fails_on_an_altered_bundle_and_shows_why(tmp_path: Path) -> None:
    folder = write_miniature(tmp_path / "bundles" / "cpu")
    file = folder / "artifacts/model.fp32.onnx"
    file.write_bytes(file.read_bytes() + b"x")
    code, page = run_action(example_inputs(), tmp_path)
    assert code == 1
    assert "❌ failed" in page
    assert "model.fp32.onnx" in page


def test_inputs_are_words_and_no_commands(tmp_path: Path) -> None:
    write_miniature(tmp_path / "bundles" / "cpu")
    inputs = {**example_inputs(), "bundles": "bundles/cpu; touch evil", "options": "$(touch evil)"}
    code, _ = run_action(inputs, tmp_path)
    assert code == 2
    assert not (tmp_path / "evil").exists()


def test_options_reach_the_command(tmp_path: Path) -> None:
    write_miniature(tmp_path / "bundles" / "cpu")
    assert run_action({**example_inputs(), "options": "--limit 5"}, tmp_path)[0] == 2  # needs --data


def test_the_example_names_what_exists() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    config = yaml.safe_load((EXAMPLE / ".pre-commit-config.yaml").read_text())
    (used,) = config["repos"][0]["hooks"]
    assert used["id"] in {hook["id"] for hook in hooks}


@pytest.mark.lab
def test_the_hook_checks_the_bundles_of_a_commit(tmp_path: Path) -> None:
    """With pre-commit itself, which installs arbex from a copy of this repository."""
    source, work = tmp_path / "arbex", tmp_path / "work"
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in names:
        if not name.startswith(("tests/", "docs/")) and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    settings = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main"]

    def git(folder: Path, *arguments: str) -> str:
        command = ["git", *settings, *arguments]
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()

    folder = write_miniature(work / "bundles" / "cpu")
    for repository in (source, work):
        git(repository, "init", "--quiet")
        git(repository, "add", "--all")
        git(repository, "commit", "--quiet", "--message", "x")
    config = yaml.safe_load((EXAMPLE / ".pre-commit-config.yaml").read_text())
    config["repos"][0] |= {"repo": str(source), "rev": git(source, "rev-parse", "HEAD")}
    config["repos"][0]["hooks"][0]["args"] = ["bundles/cpu"]
    (work / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    git(work, "add", "--all")
    environment = {**os.environ, "PRE_COMMIT_HOME": str(tmp_path / "cache")}

    def run() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pre_commit", "run", "--all-files"]
        return subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)

    good = run()
    assert good.returncode == 0, good.stdout + good.stderr
    (folder / "golden.npz").write_bytes(b"")
    git(work, "add", "--all")
    bad = run()
    assert bad.returncode == 1
    assert "golden.npz" in bad.stdout
