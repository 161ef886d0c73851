"""What the writer of every format has. Writers are asked for their targets early, so heavy imports are made late."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from arbex.errors import ArbexError, BackendError
from arbex.packages import Package
from export.operators import Operator
from export.targets import Target
from runtimes.formats import Format

if TYPE_CHECKING:
    from export.programs import Variant


def first_line(error: BaseException) -> str:
    """Returns the first line of a vendor's message that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


@contextmanager
def refusals_of(tool: str) -> Iterator[None]:
    """Turns whatever a vendor's converter raises into BackendError, with the cause chained.

    Converters raise whatever Python or their own code comes upon, so that no list of exceptions would be complete.
    """
    try:
        yield
    except ArbexError:
        raise
    except Exception as error:
        raise BackendError(f"{tool} refused the program: {first_line(error)}") from error


class Writer(ABC):
    """Makes the files of one format.

    Attributes:
        format: The format.
        packages: What must be installed to write it.
        tools: Further distributions whose versions shape its files.
        targets: Device families whose bundles this format defines.
        made_from: Name of the format whose file of the same variant is compiled; empty where writing starts from
            the program.
        builder: Name for ``--builder``, where this format is made on request only; empty otherwise.
        extends: Name of the target whose bundle it joins then.
    """

    format: ClassVar[Format]
    packages: ClassVar[tuple[Package, ...]]
    tools: ClassVar[tuple[str, ...]] = ()
    targets: ClassVar[tuple[Target, ...]] = ()
    made_from: ClassVar[str] = ""
    builder: ClassVar[str] = ""
    extends: ClassVar[str] = ""

    def require(self) -> None:
        """Refuses to start where writing cannot succeed.

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
            path: The file or folder to make.

        Raises:
            MissingPackageError: If a package is not installed.
            BackendError: If the vendor's tool refuses the program; the cause is chained.
        """

    @abstractmethod
    def read_operators(self, path: Path, variant: Variant) -> list[Operator]:
        """Returns the convolutions and linear layers of an INT8 file, as what is meant to run it computes them.

        Args:
            path: The file.
            variant: What it was made of.
        """
