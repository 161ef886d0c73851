"""Emulated processors: what is downloaded and how, what is refused, and that artifacts answer alike on all of them."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from arbex.errors import BackendError, UnsupportedError
from runtimes import open_bundle
from runtimes.comparison import compare
from runtimes.emulation import debian
from runtimes.emulation.emulated_runtime import EmulatedRuntime
from runtimes.emulation.environment import Environment
from runtimes.emulation.processors import PROCESSORS, find_processors
from runtimes.onnx_runtime import PACKAGE, OnnxRuntime
from runtimes.registry import default_environment
from runtimes.verification import EMULATED_STEP, verify_bundle

INDEX = """Package: python3
Version: 3.13.5-1
Depends: libc6 (>= 2.38), python3-minimal:any (= 3.13.5-1), media-types | mime-support
Filename: pool/p/python3.deb
SHA256: 11

Package: python3-minimal
Pre-Depends: libc6
Filename: pool/p/minimal.deb
SHA256: 22

Package: glibc
Provides: libc6 (= 2.41)
Description: The C library
 Depends: is no field here
Filename: pool/g/glibc.deb
SHA256: 33

Package: media-types
Filename: pool/m/media.deb
SHA256: 44
"""


def test_processors_by_name() -> None:
    assert [known.name for known in find_processors(["all"])] == ["haswell", "cortex-a53", "cortex-a76"]
    assert [known.name for known in find_processors(["cortex-a76", "haswell"])] == ["haswell", "cortex-a76"]
    assert find_processors([]) == ()


def test_a_processor_with_avx512_is_refused_with_the_reason() -> None:
    with pytest.raises(UnsupportedError, match="'icelake' cannot be emulated: QEMU does not emulate AVX-512"):
        find_processors(["icelake"])
    with pytest.raises(UnsupportedError, match="The processor 'z80' is not known. Allowed: haswell, cortex-a53, "):
        find_processors(["z80"])


def test_an_index_with_dependencies_alternatives_and_provided_names() -> None:
    index = debian.read_index(INDEX)
    assert index["libc6"].name == "glibc"
    assert index["python3"].needs == ("libc6", "python3-minimal", "media-types")
    found = {entry.name for entry in debian.with_needs(["python3"], index, left_out=["media-types"])}
    assert found == {"python3", "python3-minimal", "glibc"}


def member(name: str, content: bytes) -> bytes:
    """Returns a member of an ar archive."""
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n"
    return header.encode() + content + b"\n" * (len(content) % 2)


def package_of(*files: tarfile.TarInfo, content: bytes = b"") -> bytes:
    """Returns a Debian package of files that have the same content."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:xz") as archive:
        for file in files:
            file.size = len(content) if file.isfile() else 0
            archive.addfile(file, io.BytesIO(content))
    members = member("debian-binary", b"2.0\n") + member("data.tar.xz", stream.getvalue())
    return debian.MAGIC + members


def link(name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


def test_a_package_is_unpacked_with_links_kept_inside(tmp_path: Path) -> None:
    package = package_of(
        tarfile.TarInfo("./usr/lib/libx.so.1"), link("./usr/bin/x", "/usr/lib/libx.so.1"), content=b"x"
    )
    debian.unpack(package, tmp_path / "root")
    assert (tmp_path / "root/usr/lib/libx.so.1").read_bytes() == b"x"
    assert (tmp_path / "root/usr/bin/x").resolve() == (tmp_path / "root/usr/lib/libx.so.1").resolve()


def test_only_what_is_wanted_is_unpacked(tmp_path: Path) -> None:
    package = package_of(tarfile.TarInfo("./usr/bin/a"), tarfile.TarInfo("./usr/bin/b"), content=b"x")
    debian.unpack(package, tmp_path, ["usr/bin/a"])
    assert sorted(p.name for p in (tmp_path / "usr/bin").iterdir()) == ["a"]


def hard_link(name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.LNKTYPE, target
    return info


ESCAPING = (
    package_of(tarfile.TarInfo("../../evil"), content=b"x"),
    package_of(hard_link("./good", "../../evil")),
    package_of(link("./up", "../.."), tarfile.TarInfo("./up/evil"), content=b"x"),
)


@pytest.mark.parametrize("package", [b"", b"no package", *ESCAPING])
def test_a_damaged_or_escaping_package_is_refused(package: bytes, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="A package cannot be unpacked"):
        debian.unpack(package, tmp_path / "root")
    assert not (tmp_path.parent / "evil").exists()


def test_a_file_that_the_index_does_not_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "download", lambda path: b"changed on the way")
    entry = debian.Entry("x", "pool/x.deb", hashlib.sha256(b"as it was").hexdigest(), (), ())
    with pytest.raises(BackendError, match="The file of the package x is damaged"):
        debian.fetch(entry)


def test_a_mirror_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "MIRROR", "http://127.0.0.1:9")
    with pytest.raises(BackendError, match=r"http://127\.0\.0\.1:9/dists.* cannot be downloaded"):
        debian.load_index("trixie", "arm64")


def test_a_part_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "MIRROR", "http://127.0.0.1:9")
    with pytest.raises(BackendError, match="cannot be downloaded"):
        Environment(tmp_path, (PACKAGE,)).set_up([PROCESSORS["haswell"]])
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_without_the_emulator_the_remedy_is_the_command(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"haswell cannot be emulated yet: .*arbex emulators haswell"):
        Environment(tmp_path, (PACKAGE,)).check(PROCESSORS["haswell"])


def test_a_process_that_the_processor_ends_is_an_error(tmp_path: Path) -> None:
    """As where a kernel needs an instruction that the processor lacks."""
    processor = PROCESSORS["haswell"]
    environment = Environment(tmp_path, (PACKAGE,))
    for part in environment.parts(processor):
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_text("#!/bin/sh\nkill -ILL $$\n")
        part.chmod(0o755)
    options = {"runtime": OnnxRuntime, "processor": processor, "environment": environment}
    with (
        EmulatedRuntime(tmp_path / "m.onnx", 8, **options) as runtime,  # type: ignore[arg-type]
        pytest.raises(BackendError, match=r"onnxruntime on haswell cannot run .*m\.onnx: it ended with SIGILL"),
    ):
        runtime.run(np.zeros((1, 8, 8, 3), np.uint8))


@pytest.fixture(scope="module")
def environment() -> Environment:
    found = default_environment()
    try:
        found.set_up(tuple(PROCESSORS.values()))
    except BackendError as error:
        pytest.skip(str(error))
    return found


@pytest.mark.lab
@pytest.mark.parametrize("target", ["cpu", "android"])
@pytest.mark.parametrize("cpu", list(PROCESSORS))
def test_artifacts_answer_alike_on_every_processor(
    bundles: Path, environment: Environment, target: str, cpu: str
) -> None:
    bundle = open_bundle(bundles / target)
    report = verify_bundle(bundle, processors=find_processors([cpu]))
    assert report.passed, report
    emulated = [row for row in report.artifacts if row.cpu != "native"]
    assert {(row.precision, row.cpu) for row in emulated} == {("fp32", cpu), ("int8", cpu)}
    golden = bundle.golden().every(EMULATED_STEP)
    for row in emulated:
        with bundle.open(row.precision) as runtime:
            here = compare(golden.expected, runtime.run_all(golden.images))
        assert row.executed
        assert row.parity is not None
        assert row.parity.mean_kl == pytest.approx(here.mean_kl, rel=0.1, abs=1e-6)
