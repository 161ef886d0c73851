"""Opening a bundle: its files are checked against the manifest before they are used."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from arbex.errors import BackendError, BundleError, InputError, UnsupportedError
from arbex.spec import digest_files, digest_json, size_of_tree
from runtimes.base import Runtime
from runtimes.emulation.emulated_runtime import EmulatedRuntime
from runtimes.emulation.processors import Processor
from runtimes.formats import Format
from runtimes.golden import NAME as GOLDEN
from runtimes.golden import Golden, read_golden
from runtimes.manifest import NAME, Artifact, Manifest
from runtimes.registry import default_environment, find_format

SIGNATURE = "signature"
"""Optional signature of a bundle; it is made after the manifest, which therefore does not list it."""

PREFERENCE = ("fp32", "int8", "fp16")
"""Precisions in the order in which ``open`` prefers them: by accuracy, but float16, which CPUs run slowly, last."""


@dataclass(frozen=True)
class Bundle:
    """An intact bundle.

    Attributes:
        path: Its folder.
        manifest: Its manifest.
    """

    path: Path
    manifest: Manifest

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the outputs."""
        return self.manifest.labels

    @property
    def side(self) -> int:
        """Side of the input in pixels."""
        return self.manifest.preprocessing.image_size

    def file(self, artifact: Artifact) -> Path:
        """Returns the path of an artifact."""
        return self.path / artifact.file

    def size(self, artifact: Artifact) -> int:
        """Returns the size of an artifact in bytes."""
        return size_of_tree(self.file(artifact))

    def digest(self, artifact: Artifact) -> str:
        """Identifies the bytes of an artifact, which is a file or a folder, by the digests in the manifest."""
        files = self.manifest.files
        inside = {n: r.sha256 for n, r in files.items() if n == artifact.file or n.startswith(f"{artifact.file}/")}
        return digest_json(list(inside.values()))

    def format(self, artifact: Artifact) -> Format:
        """Returns the format of an artifact."""
        return find_format(artifact.format)

    def find(self, name: str | None = None) -> Artifact:
        """Returns an artifact.

        Args:
            name: File name or precision; by default the most accurate artifact that runs on this machine.

        Raises:
            UnsupportedError: If there is none.
        """
        artifacts = self.manifest.artifacts
        runnable = [a for a in artifacts if self.format(a).runtime]
        listed = f"Allowed: {', '.join(a.name for a in artifacts)}."
        if name is None:
            found = [a for p in PREFERENCE for a in runnable if a.precision == p]
            if not found:
                raise UnsupportedError(
                    f"No artifact of {self.path} runs on this machine.",
                    remedy="Open a bundle for cpu or android, or run this one on its device.",
                )
            return found[0]
        found = [a for a in artifacts if name in (a.name, a.file, a.precision)]
        if not found:
            raise UnsupportedError(f"{self.path} has no artifact {name!r}.", allowed=listed)
        return next((a for a in found if a in runnable), found[0])

    def open(self, artifact: str | None = None, *, threads: int | None = None) -> Runtime:
        """Loads an artifact into its runtime.

        Args:
            artifact: File name or precision; by default the most accurate one that runs on this machine.
            threads: Number of threads of the runtime.

        Raises:
            UnsupportedError: If there is no such artifact.
            BundleError: If it names other classes than the manifest.
            BackendError: If its format does not run on this machine, or the runtime is missing or cannot load it.
        """
        return self.open_artifact(self.find(artifact), threads=threads)

    def open_artifact(
        self, artifact: Artifact, *, threads: int | None = None, runtime_class: type[Runtime] | None = None
    ) -> Runtime:
        """Loads an artifact of this bundle into its runtime, or into another one; see ``open``."""
        runtime = (runtime_class or self.runtime(artifact))(self.file(artifact), self.side, threads=threads)
        if runtime.labels not in (None, self.labels):
            runtime.close()
            raise BundleError(
                f"{artifact.name} answers for the classes {', '.join(runtime.labels or ())}, in this order, and its "
                f"manifest names {', '.join(self.labels)}.",
                remedy="Do not use the bundle as it is; export it again.",
            )
        return runtime

    def open_emulated(self, artifact: Artifact, processor: Processor) -> Runtime:
        """Prepares an artifact of this bundle to run on an emulated processor.

        Raises:
            BackendError: If its format does not run on this machine, or the processor's emulator is not set up.
        """
        runtime, file = self.runtime(artifact), self.file(artifact)
        environment = default_environment()
        return EmulatedRuntime(file, self.side, runtime=runtime, processor=processor, environment=environment)

    def runtime(self, artifact: Artifact) -> type[Runtime]:
        """Returns the runtime of an artifact.

        Raises:
            BackendError: If its format does not run on this machine.
        """
        found = self.format(artifact)
        if found.runtime is None:
            raise BackendError(f"{artifact.name} does not run on this machine.", remedy=found.elsewhere)
        return found.runtime

    def golden(self) -> Golden:
        """Reads the golden vectors.

        Raises:
            BundleError: If they are damaged.
        """
        return read_golden(self.path / GOLDEN)


def read_manifest(path: Path) -> Manifest:
    """Reads ``manifest.json`` of a bundle's folder.

    Raises:
        BundleError: If the folder or the file is missing, or the file is damaged.
    """
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise BundleError(
            f"The bundle {path} {what}.", remedy="Give the folder that arbex export wrote, such as OUT/cpu."
        )
    file = path / NAME
    if not file.is_file():
        inside = sorted(p.parent.name for p in path.glob(f"[!.]*/{NAME}"))
        hint = f"Give one of the bundles in it: {', '.join(inside)}." if inside else "Export it again."
        if (path / "best.safetensors").is_file():
            hint = f"It is a run. Export it first: arbex export {path} --target TARGET."
        raise BundleError(f"{path} is not a bundle: {NAME} is missing.", remedy=hint)
    try:
        manifest = Manifest.from_json(json.loads(file.read_text(encoding="utf-8")))
        for artifact in manifest.artifacts:
            find_format(artifact.format)
    except ValueError as error:  # errors of JSON and UTF-8 are ValueErrors
        raise BundleError(f"{file} is damaged: {error}.", remedy="Copy the bundle again.") from error
    except InputError as error:
        raise BundleError(
            f"{path} cannot be opened: {error}",
            remedy="Export the bundle again, or install the version of arbex that wrote it.",
        ) from error
    return manifest


def unlisted_files(path: Path, manifest: Manifest) -> list[str]:
    """Returns the files in a bundle's folder that its manifest does not list, as sorted paths relative to the folder.

    The manifest, the signature and the files that macOS adds to every folder are left out. Links and pipes count as
    files; a folder of the bundle may be a link.

    Raises:
        BundleError: If a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise BundleError(
            f"{error.filename} cannot be read: {error.strerror}.", remedy="Give this user permission to read it."
        ) from error

    present = set()
    for folder, folders, files in os.walk(path, onerror=refuse):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        present |= {Path(folder, name).relative_to(path).as_posix() for name in [*files, *links] if not is_junk(name)}
    linked = {parent.as_posix() for name in manifest.files for parent in PurePosixPath(name).parents}
    return sorted(present - {NAME, SIGNATURE} - set(manifest.files) - linked)


def is_junk(name: str) -> bool:
    """Tells whether a file is one that macOS adds by itself."""
    return name.startswith((".DS_Store", "._"))


def check_files(path: Path, manifest: Manifest) -> None:
    """Compares every file of a bundle with the manifest.

    Raises:
        BundleError: If a file is missing, altered or not listed, or a listed path leaves the bundle.
    """
    remedy = "Copy the bundle again; do not use it as it is."
    for name in manifest.files:
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts:
            raise BundleError(f"The manifest of {path} names {name!r}, which is outside the bundle.", remedy=remedy)
        file = path / name
        if not file.is_file():
            raise BundleError(f"{path} lacks {name}.", remedy=remedy)
    digests = digest_files(path / name for name in manifest.files)
    for (name, record), digest in zip(manifest.files.items(), digests, strict=True):
        if (path / name).stat().st_size != record.size or digest != record.sha256:
            raise BundleError(
                f"{name} in {path} does not match the manifest: it was altered or damaged.", remedy=remedy
            )
    strange = unlisted_files(path, manifest)
    if strange:
        raise BundleError(f"{path} holds {strange[0]}, which the manifest does not list.", remedy=remedy)
    for artifact in manifest.artifacts:
        if not any(n == artifact.file or n.startswith(f"{artifact.file}/") for n in manifest.files):
            raise BundleError(f"The manifest of {path} lists no files of the artifact {artifact.file}.", remedy=remedy)


def open_bundle(path: str | Path) -> Bundle:
    """Opens a bundle after checking that every file matches the manifest.

    Args:
        path: The bundle's folder.

    Raises:
        BundleError: If it is missing, incomplete, altered or damaged.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    return Bundle(folder, manifest)
