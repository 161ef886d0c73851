"""The interface of all writers, which import heavy packages late: help texts need their targets before that."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from arbex.errors import ArbexError, BackendError, reason
from arbex.packages import Package
from export.operators import Operator
from export.targets import Target
from runtimes.formats import Format

if TYPE_CHECKING:
    from export.programs import Variant


@contextmanager
def refusals_of(tool: str) -> Iterator[None]:
    """Turns whatever a vendor's converter raises into BackendError, with the cause chained.

    Converters may raise any exception, so that no list of them would be complete.
    """
    try:
        yield
    except ArbexError:
        raise
    except Exception as error:
        raise BackendError(
            f"{tool} cannot convert the program: {reason(error)}.",
            remedy="Run again with --debug to see the tool's whole output.",
        ) from error


class Writer(ABC):
    """Makes the files of one format.

    Attributes:
        format: The format.
        packages: Packages that writing needs.
        tools: Further distributions on whose versions its files depend.
        targets: Targets that this format defines.
        made_from: Name of the format whose file of the same variant is compiled; empty if writing starts from the
            program.
        builder: Name for ``--builder``, if this format is written on request only; empty otherwise.
        extends: Name of the target whose bundle it then joins.
    """

    format: ClassVar[Format]
    packages: ClassVar[tuple[Package, ...]]
    tools: ClassVar[tuple[str, ...]] = ()
    targets: ClassVar[tuple[Target, ...]] = ()
    made_from: ClassVar[str] = ""
    builder: ClassVar[str] = ""
    extends: ClassVar[str] = ""

    def require(self) -> None:
        """Checks, before any work starts, that writing can succeed.

        Raises:
            MissingPackageError: If a package is not installed.
        """
        for package in self.packages:
            package.require()

    @abstractmethod
    def write(self, variant: Variant, path: Path) -> None:
        """Writes a variant.

        Args:
            variant: What to write.
            path: File or folder to create.

        Raises:
            MissingPackageError: If a package is not installed.
            BackendError: If the vendor's tool cannot convert the program; the cause is chained.
        """

    @abstractmethod
    def read_operators(self, path: Path, variant: Variant) -> list[Operator]:
        """Returns the convolutions and linear layers of an INT8 file, as its intended runtime computes them.

        Args:
            path: The file.
            variant: What it was made from.
        """
