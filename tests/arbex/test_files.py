"""Nothing half-written is left behind, whatever happens while writing."""

from __future__ import annotations

from pathlib import Path

import pytest

from arbex.errors import InputError
from arbex.files import link_or_copy, staged_folder, write_atomically


def test_an_atomic_write_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.txt", "old")
    write_atomically(tmp_path / "a.txt", b"new")
    assert (tmp_path / "a.txt").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomically(tmp_path / "a.txt", "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("arbex.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_writing_into_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written: No such file"):
        write_atomically(tmp_path / "none" / "a.txt", "x")


def test_a_staged_folder_appears_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with staged_folder(out) as stage:
        (stage / "a").write_text("x")
        assert not out.exists()
    assert (out / "a").read_text() == "x"
    assert [p.name for p in out.parent.iterdir()] == ["out"]


def test_a_failed_stage_vanishes_and_keeps_the_old_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "key").write_text("old")

    def interrupted() -> None:
        with staged_folder(out, check=refuse_unless_key) as stage:
            (stage / "key").write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (out / "key").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_failed_stage_leaves_no_empty_folders(tmp_path: Path) -> None:
    def interrupted(out: Path) -> None:
        with staged_folder(out):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "bundles" / "deep" / "cpu")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "bundles").mkdir()
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "bundles" / "cpu")
    assert [p.name for p in tmp_path.iterdir()] == ["bundles"]  # it was there before


def refuse_unless_key(folder: Path) -> None:
    if not (folder / "key").is_file():
        raise InputError("has no key")


def test_a_folder_that_holds_something_is_replaced_only_where_the_check_allows_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious").write_text("mine")
    with pytest.raises(InputError, match="is not empty"), staged_folder(out):
        pass
    with pytest.raises(InputError, match="has no key"), staged_folder(out, check=refuse_unless_key):
        pass
    (out / "key").touch()
    with staged_folder(out, check=refuse_unless_key) as stage:
        (stage / "key").touch()
    assert [p.name for p in out.iterdir()] == ["key"]


def test_what_appears_while_a_folder_is_staged_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def work() -> None:
        with staged_folder(out):
            out.mkdir()
            (out / "precious").write_text("mine")

    with pytest.raises(InputError, match="is not empty"):
        work()
    assert (out / "precious").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(InputError, match="is a file"), staged_folder(tmp_path / "out"):
        pass


def test_a_file_is_handed_over_by_name_and_then_as_copies(tmp_path: Path) -> None:
    made, targets = tmp_path / "made", [tmp_path / "first", tmp_path / "second"]
    made.write_bytes(b"weights")
    for target in targets:
        link_or_copy(made, target)
    made.unlink()
    assert [t.read_bytes() for t in targets] == [b"weights"] * 2
    assert [t.stat().st_nlink for t in targets] == [1, 1]


def test_a_file_is_copied_where_it_cannot_be_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*names: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    (tmp_path / "made").write_bytes(b"weights")
    link_or_copy(tmp_path / "made", tmp_path / "first")
    assert (tmp_path / "first").read_bytes() == b"weights"
