"""Every exception of every vendor that runs artifacts becomes a BackendError; the lists are complete."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from arbex.errors import BackendError, MissingPackageError
from runtimes.base import Prediction, Runtime
from runtimes.formats import Format
from runtimes.registry import FORMATS
from runtimes.vendor_output import hidden_output

EXECUTED = [known for known in FORMATS.values() if known.runtime]
IMAGES = np.zeros((1, 64, 64, 3), np.uint8)


EXPORTERS = (
    "executorch.exir",
    "executorch.backends",
    "coreai_torch",
    "coreai._compiler",
    "coremltools.converters",
    "coremltools.optimize",
    "coremltools.models.ml_program.experimental",
)
"""What may be loaded as well, where other tests have exported: modules that a runtime never calls."""


def vendor_exceptions(package: str) -> set[type[Exception]]:
    """Returns every exception that a loaded package defines, except those of its exporter."""
    modules = [m for n, m in list(sys.modules.items()) if m and n.partition(".")[0] == package]
    kinds = {value for module in modules for value in vars(module).values() if inspect.isclass(value)}
    own = {k for k in kinds if issubclass(k, Exception) and k.__module__.partition(".")[0] == package}
    return {k for k in own if not k.__module__.startswith(EXPORTERS)}


def exceptions_of(known: Format) -> Iterator[type[Exception]]:
    """Yields what a runtime may raise: the vendor's own exceptions, and built-in ones that bindings raise."""
    for package in known.packages:
        if package.is_installed:
            with hidden_output():
                package.load()
            yield from vendor_exceptions(package.module)
    yield from (RuntimeError, ValueError)


def failing(runtime: type[Runtime], error: Exception) -> Runtime:
    """Returns a runtime of that class that needs no artifact and whose run raises the error."""

    class Failing(runtime):  # type: ignore[misc, valid-type]
        def load(self) -> None: ...

        def run_batch(self, images: NDArray[np.uint8]) -> Prediction:
            raise error

    return Failing(Path("model"), 64)


@pytest.mark.parametrize("known", EXECUTED, ids=lambda known: known.name)
def test_every_exception_of_the_vendor_is_translated_with_its_cause(known: Format) -> None:
    assert known.runtime is not None
    assert any(package.is_installed for package in known.packages)  # else its exceptions would not be looked at
    for kind in exceptions_of(known):
        error = kind.__new__(kind)
        with failing(known.runtime, error) as runtime, pytest.raises(BackendError, match="cannot run model") as told:
            runtime.run(IMAGES)
        assert told.value.__cause__ is error, kind


def test_onnx_runtimes_own_exceptions_are_among_them() -> None:
    """They derive from Exception alone, so that a list of built-in exceptions would miss them all."""
    names = {kind.__name__ for kind in exceptions_of(FORMATS["onnx"]) if kind.__base__ is Exception}
    assert {"Fail", "InvalidArgument", "RuntimeException", "InvalidProtobuf", "NoSuchFile"} <= names


def test_mistakes_of_ours_are_not_taken_for_the_vendors() -> None:
    with failing(EXECUTED[0].runtime, ZeroDivisionError()) as runtime, pytest.raises(ZeroDivisionError):  # type: ignore[arg-type]
        runtime.run(IMAGES)


@pytest.mark.parametrize("known", EXECUTED, ids=lambda known: known.name)
@pytest.mark.parametrize("content", [b"", b"no model at all" * 100], ids=["empty", "text"])
def test_a_file_that_is_no_model_is_refused(known: Format, content: bytes, tmp_path: Path) -> None:
    assert known.runtime is not None
    (tmp_path / "model").write_bytes(content)
    with pytest.raises(BackendError, match=f"{known.runner} cannot load|cannot be read") as told:
        known.runtime(tmp_path / "model", 64)
    assert told.value.__cause__ is not None


@pytest.mark.parametrize("known", EXECUTED, ids=lambda known: known.name)
def test_a_missing_package_is_named_with_what_brings_it(
    known: Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert known.runtime is not None
    for package in known.packages:
        monkeypatch.setitem(sys.modules, package.module, None)  # as if it were not installed
    with pytest.raises(MissingPackageError, match=r"not installed.*pip install 'arbex\["):
        known.runtime(tmp_path / "model", 64)
