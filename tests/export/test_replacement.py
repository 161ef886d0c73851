"""An export replaces a bundle, intact or damaged, and no folder that holds anything else."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest

from arbex.errors import BundleError, InputError
from export.bundle_writer import write_archive
from export.pipeline import export
from export.plan import ExportRequest
from export.replacement import check_replaceable
from runtimes import open_bundle
from tests.runtimes.miniature import write_miniature


@pytest.fixture
def cpu(tmp_path: Path) -> Path:
    return write_miniature(tmp_path / "out" / "cpu")


def refused(out: Path, words: str) -> None:
    """Checks that an export to this path is refused before its run is read, and that nothing is removed."""
    before = sorted(out.rglob("*"))
    with pytest.raises(InputError, match=words):
        export(ExportRequest(run=Path("/nowhere"), targets=["cpu"], out=out.parent))
    assert sorted(out.rglob("*")) == before


def test_a_bundle_may_be_replaced(cpu: Path) -> None:
    check_replaceable(cpu)


def test_so_may_a_damaged_or_signed_one_and_what_a_mac_leaves(cpu: Path) -> None:
    (cpu / "golden.npz").unlink()
    (cpu / "artifacts" / "model.fp32.onnx").write_bytes(b"damaged")
    for name in ("signature", ".DS_Store", "artifacts/._model.fp32.onnx"):
        (cpu / name).touch()
    check_replaceable(cpu)


def test_so_may_one_whose_artifacts_lie_on_another_disk(cpu: Path, tmp_path: Path) -> None:
    (cpu / "artifacts").rename(tmp_path / "large")
    (cpu / "artifacts").symlink_to(tmp_path / "large")
    assert open_bundle(cpu).manifest.target == "cpu"
    check_replaceable(cpu)


def test_so_may_an_empty_folder_and_none(tmp_path: Path) -> None:
    check_replaceable(tmp_path)
    check_replaceable(tmp_path / "deep" / "cpu")


@pytest.mark.parametrize("name", ["notes.txt", "artifacts/results.csv", ".env", "artifacts/manifest.json"])
def test_a_file_that_the_manifest_does_not_list_is_named_and_kept(cpu: Path, name: str) -> None:
    (cpu / name).write_text("mine")
    refused(cpu, rf"holds {name}, which does not belong to the bundle.*Move it")


def test_links_and_pipes_count_as_files(cpu: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (cpu / "link").symlink_to(tmp_path / "elsewhere")
    refused(cpu, "holds link, which does not belong")
    (cpu / "link").unlink()
    os.mkfifo(cpu / "pipe")
    refused(cpu, "holds pipe, which does not belong")


@pytest.mark.parametrize("manifest", ['{"name": "a web app", "icons": []}', "[]", "", '{"schema": 99}', None])
def test_a_folder_that_is_no_bundle_is_kept(manifest: str | None, tmp_path: Path) -> None:
    out = tmp_path / "out" / "cpu"
    out.mkdir(parents=True)
    (out / "index.html").write_text("mine")
    if manifest is not None:
        (out / "manifest.json").write_text(manifest)
    refused(out, "already holds something that is not a bundle.*another --out")


def test_a_bundle_of_another_version_is_kept(cpu: Path) -> None:
    value = json.loads((cpu / "manifest.json").read_text())
    (cpu / "manifest.json").write_text(json.dumps({**value, "schema": 99}))
    refused(cpu, r"not a bundle of this version: .*schema 99")


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    for out in (tmp_path / "out", tmp_path / "out" / "cpu"):
        with pytest.raises(InputError, match=r"out is a file; a folder must be written there"):
            check_replaceable(out)


def test_an_archive_of_something_else_is_kept(cpu: Path) -> None:
    """OUT/TARGET.zip is replaced with --archive and removed without it, since it would be out of date."""
    archive = cpu.with_suffix(".zip")
    archive.write_bytes(b"mine")
    refused(cpu, r"cpu\.zip is not the archive of a bundle.*another --out")
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("holiday.jpg", "mine")
    refused(cpu, r"cpu\.zip is not the archive of a bundle.*another --out")
    archive.unlink()
    check_replaceable(cpu)
    write_archive(cpu)
    check_replaceable(cpu)


def test_what_a_killed_export_left_half_done_is_not_offered(cpu: Path) -> None:
    cpu.with_name(".cpu.half-done").mkdir()
    (cpu.with_name(".cpu.half-done") / "manifest.json").touch()
    with pytest.raises(BundleError, match=r"Give one of the bundles in it: cpu\.$"):
        open_bundle(cpu.parent)
