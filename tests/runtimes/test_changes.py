"""What changed since an earlier verification, and what is refused as one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arbex.cli import invoke
from arbex.errors import InputError
from runtimes.changes import read_states
from tests.runtimes.miniature import write_miniature


def test_the_command_shows_what_changed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = write_miniature(tmp_path / "cpu")
    old = tmp_path / "old.json"
    assert invoke(["verify", str(folder), "--json"], "arbex") == 0
    document = json.loads(capfd.readouterr().out)
    first = document["bundles"][0]["artifacts"][0]
    first["mean_kl"], first["outcome"] = 0.5, "failed"
    old.write_text(json.dumps(document))
    assert invoke(["verify", str(folder), "--compare", str(old)], "arbex") == 0
    told = capfd.readouterr().out
    assert "Since the earlier verification:" in told
    assert "failed → passed" in told
    assert "5.0e-01 → " in told
    assert invoke(["verify", str(folder), "--compare", str(old), "--json"], "arbex") == 0
    (change,) = json.loads(capfd.readouterr().out)["changes"]
    assert change["before"]["mean_kl"] == 0.5
    assert change["after"]["mean_kl"] < 1e-6


def test_a_document_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    row = {"artifact": "model.onnx", "passed": True, "mean_kl": 1e-6, "top1_agreement": 1.0}
    old = tmp_path / "old.json"
    old.write_text(json.dumps({"passed": True, "bundles": [{"bundle": "x/cpu", "passed": True, "artifacts": [row]}]}))
    (key,), (state,) = zip(*read_states(old).items(), strict=True)
    assert key == ("cpu", "model.onnx", "native")
    assert (state.outcome, state.mean_kl) == ("passed", 1e-6)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"bundles": [{"bundle": "b", "artifacts": [{}]}]}', '{"bundles": 3}']
)
def test_anything_else_is_refused_before_any_work(text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old.json").write_text(text)
    with pytest.raises(InputError, match=r"The earlier verification .* cannot be read"):
        read_states(tmp_path / "old.json")
    assert invoke(["verify", str(tmp_path), "--compare", str(tmp_path / "none.json")], "arbex") == 2
    assert "arbex verify BUNDLE --json > FILE" in capfd.readouterr().err
