"""A folder is replaced in one step: whoever looks finds the whole old one or the whole new one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from arbex import replacing
from arbex.errors import InputError
from arbex.files import staged_folder

NAMES = ("manifest.json", "artifacts/a", "artifacts/b", "golden.npz")


def allow(folder: Path) -> None:
    """Lets everything be replaced."""


def write(folder: Path, text: str) -> None:
    (folder / "artifacts").mkdir()
    for name in NAMES:
        (folder / name).write_text(text)


def replace(out: Path, text: str) -> None:
    with staged_folder(out, check=allow) as stage:
        write(stage, text)


def content(out: Path) -> list[str]:
    """Returns what the files of a folder say, each text once; ``missing`` for a file that is not there."""
    return sorted({(out / name).read_text() if (out / name).is_file() else "missing" for name in NAMES})


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.fixture(params=["in one step", "in two steps"])
def steps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "in two steps":
        monkeypatch.setattr(replacing, "exchange", lambda one, other: False)
    return str(request.param)


def test_this_machine_replaces_in_one_step(tmp_path: Path) -> None:
    """Otherwise the tests below would not cover the exchange in one step."""
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").touch()
    assert replacing.exchange(tmp_path / "one", tmp_path / "other") is True
    assert (tmp_path / "one" / "x").exists()
    assert not (tmp_path / "other" / "x").exists()


def test_what_cannot_be_exchanged_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert replacing.exchange(tmp_path / "nothing", tmp_path / "none") is False
    monkeypatch.setitem(sys.modules, "ctypes", None)  # as on a Python that was built without libffi
    assert replacing.exchange(tmp_path, tmp_path) is False


def test_the_new_folder_takes_the_place_of_the_old_one(tmp_path: Path, steps: str) -> None:
    for text in ("old", "new"):
        replace(tmp_path / "out", text)
        assert content(tmp_path / "out") == [text]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_the_old_folder_comes_back_where_the_new_one_cannot_be_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replacing, "exchange", lambda one, other: False)
    replace(tmp_path / "out", "old")
    rename, calls = os.rename, []

    def fail_once(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 3:  # onto the old one; the old one aside; into its place
            raise PermissionError(13, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_once)
    with pytest.raises(InputError, match="cannot be written: Permission denied"):
        replace(tmp_path / "out", "new")
    assert len(calls) == 4
    assert content(tmp_path / "out") == ["old"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path, steps: str) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "real")
    for text in ("old", "new"):
        replace(tmp_path / "out", text)
        assert content(tmp_path / "disk" / "real") == [text]
    assert (tmp_path / "out").is_symlink()
    assert sorted(p.name for p in tmp_path.rglob("*")) == sorted(
        ["disk", "out", "real", "artifacts", *(Path(name).name for name in NAMES)]
    )


KILLED = """
import itertools, json, os, signal, sys
from pathlib import Path
from arbex import replacing
from tests.arbex.test_replacing import content, hidden, replace

def replace_until(out, text, moment):
    events = itertools.count(1)
    def watch(event, arguments):
        if next(events) == moment:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)  # called before whatever Python asks of the system
    replace(out, text)
    os._exit(0)

out, steps = Path(sys.argv[1]), sys.argv[2]
if steps == "in two steps":
    replacing.exchange = lambda one, other: False
replace(out, "0")
before, found, status = "0", [], 1
while status:
    moment = len(found) + 1
    child = os.fork()
    if not child:
        replace_until(out, str(moment), moment)
    status = os.waitpid(child, 0)[1]
    at_once, names = content(out), [p.name for p in out.parent.iterdir() if p.name[0] != "."]
    replacing.clear_leftovers(out)
    after = content(out)
    found.append({"before": before, "new": str(moment), "at once": at_once, "after": after, "names": names})
    before = after[0]
print(json.dumps({"found": found, "left": hidden(out.parent)}))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("steps", ["in one step", "in two steps"])
def test_a_process_killed_at_any_moment_leaves_the_old_folder_or_the_new_one(steps: str, tmp_path: Path) -> None:
    """A child is killed before the first thing that it asks of the system, another before the second, and so on."""
    command = [sys.executable, "-c", KILLED, str(tmp_path / "out"), steps]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    moments = outcome["found"]
    old = sum(moment["after"] == [moment["before"]] for moment in moments)
    new = sum(moment["after"] == [moment["new"]] for moment in moments)
    assert old + new == len(moments), moments
    assert old > 10  # until the folders change places
    assert new > 5  # while the old one is removed
    missing = [moment for moment in moments if moment["at once"] != moment["after"]]
    if steps == "in one step":
        assert missing == []
        assert all(moment["names"] == ["out"] for moment in moments)
    else:  # missing for an instant; the next export brings the old one back
        assert all(moment["at once"] == ["missing"] and moment["names"] == [] for moment in missing)
        assert 1 <= len(missing) <= 2
    assert outcome["left"] == []


WRITER = """
import sys
from pathlib import Path
from tests.arbex.test_replacing import replace
for i in range(int(sys.argv[3])):
    replace(Path(sys.argv[1]), f"{sys.argv[2]}{i}")
"""


def read_through_one_folder(out: Path) -> tuple[set[str], bool]:
    """Opens a folder once, reads its files in it, and tells whether it was still in place at the end.

    Raises:
        FileNotFoundError: If there is no folder of that name.
    """
    folder = os.open(out, os.O_RDONLY)
    try:
        texts = set()
        for name in NAMES:
            try:
                with open(os.open(name, os.O_RDONLY, dir_fd=folder)) as stream:
                    texts.add(stream.read())
            except FileNotFoundError:
                texts.add("missing")
        return texts, os.stat(out).st_ino == os.fstat(folder).st_ino
    finally:
        os.close(folder)


def test_readers_never_miss_the_folder_nor_see_a_mix_of_two(tmp_path: Path) -> None:
    """While two processes replace it two hundred times."""
    out = tmp_path / "out"
    replace(out, "first")
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(out), name, "100"]) for name in "ab"]
    whole, seen = 0, set()
    try:
        while any(writer.poll() is None for writer in writers):
            texts, in_place = read_through_one_folder(out)
            seen |= texts
            assert not in_place or len(texts) == 1, texts
            assert in_place or len(texts - {"missing"}) <= 1, texts  # the old one may be removed while it is read
            whole += in_place
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    assert [writer.returncode for writer in writers] == [0, 0]
    assert whole > 20
    assert len(seen) > 20
    assert content(out) in (["a99"], ["b99"])
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_leftovers_of_the_dead_are_removed_and_those_of_the_living_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = (
        "import sys, time; from pathlib import Path; from arbex.files import staged_folder\n"
        "with staged_folder(Path(sys.argv[1])) as stage:\n"
        "    (stage / 'half').touch(); print(stage.name, flush=True); time.sleep(600)"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE) for _ in range(2)]
    names = [process.stdout.readline().decode().strip() for process in processes if process.stdout]
    strange = tmp_path / ".out.mine"
    strange.mkdir()
    (strange / "precious").touch()
    try:
        processes[0].kill()
        processes[0].wait()
        replace(out, "new")
        assert sorted(hidden(tmp_path)) == sorted([".out.mine", names[1]])
        assert (tmp_path / names[1] / "half").exists()
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    replace(out, "newer")
    assert hidden(tmp_path) == [".out.mine"]


def test_leftovers_of_other_machines_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether their process lives cannot be told from here."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(replacing, "machine", lambda: "elsewhere")
        left, held = replacing.make_stage(tmp_path / "out")
        replacing.release(held)
    replace(tmp_path / "out", "new")
    assert hidden(tmp_path) == [left.name]
