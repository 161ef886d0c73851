"""Third-party packages, each described once for error messages and ``arbex doctor``. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from arbex import __version__
from arbex.errors import BackendError, MissingPackageError


@dataclass(frozen=True, kw_only=True)
class Package:
    """A third-party package that one part of the toolkit needs.

    Attributes:
        module: Import name of the package.
        distribution: Name in the package registry.
        purpose: What needs it, as a phrase such as ``running .onnx files``.
        extra: Extra of this project that installs it, or an empty string.
        remedy: How to install it, if the extra alone is not enough.
    """

    module: str
    distribution: str
    purpose: str
    extra: str = ""
    remedy: str = ""

    @property
    def installation(self) -> str:
        """How to install it: the remedy, or the ``pip install`` line."""
        return self.remedy or f"pip install {repr(f'arbex[{self.extra}]') if self.extra else self.distribution}"

    @property
    def is_installed(self) -> bool:
        """Whether Python finds it; it may still fail to import."""
        return find_spec(self.module) is not None

    def missing(self) -> MissingPackageError:
        """Returns the error for a package that is not installed."""
        return MissingPackageError(self.module, self.purpose, extra=self.extra, remedy=self.remedy)

    def require(self) -> None:
        """Checks that it is installed, without importing it.

        Raises:
            MissingPackageError: If it is not.
        """
        if not self.is_installed:
            raise self.missing()

    def load(self, submodule: str = "") -> Any:
        """Returns the imported package, or one of its modules.

        Args:
            submodule: Name in the package, such as ``interpreter``.

        Raises:
            MissingPackageError: If it is not installed.
            BackendError: If it is installed but cannot be imported; the cause is chained.
        """
        self.require()
        try:
            return import_module(f"{self.module}.{submodule}" if submodule else self.module)
        except ImportError as error:
            raise BackendError(
                f"The package '{self.module}' is installed but cannot be imported: {error}.",
                remedy=f"Install it again: {self.installation}.",
            ) from error


TRAINING = (
    Package(module="torch", distribution="torch", purpose="training and export", extra="train"),
    Package(module="lightning_fabric", distribution="lightning-fabric", purpose="arbex train", extra="train"),
)
"""Packages that training needs beyond the core."""


OPENCV = Package(
    module="cv2", distribution="opencv-python-headless", purpose="detecting faces and reading videos", extra="detect"
)


def tool_versions(distributions: Iterable[str]) -> dict[str, str]:
    """Returns the versions of this toolkit and of the given distributions; those not installed are left out."""
    from importlib import metadata  # slow to import

    versions = {"arbex": __version__}
    for name in distributions:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
