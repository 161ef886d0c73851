"""All errors that a user can encounter, as one tree.

    ArbexError
    ├── CheckFailed            exit 1   a parity or accuracy check failed
    ├── InputError             exit 2   something that the user gave cannot be used
    │   ├── DataError                   a data set or an image
    │   ├── RunError                    a training run or its checkpoint
    │   ├── BundleError                 a bundle or a file in it
    │   └── UnsupportedError            a name, or a combination, that arbex does not offer
    └── BackendError           exit 3   a vendor's package is missing or failed
        └── MissingPackageError

An error says what was wrong (with the value), what is allowed, and what to do. Vendors' exceptions are
translated where they occur, with ``raise ... from``, so that ``--debug`` still shows where they came from.
"""

from __future__ import annotations


class ArbexError(Exception):
    """Base of all errors that are shown as a paragraph instead of a traceback.

    Args:
        problem: What was wrong, with the offending value.
        allowed: What would have been accepted; it always reads ``Allowed: a, b, c.``
        remedy: What to do, in the imperative.
    """

    exit_code = 2

    def __init__(self, problem: str, *, allowed: str = "", remedy: str = "") -> None:
        """Joins the parts into one paragraph."""
        self.problem, self.allowed, self.remedy = problem, allowed, remedy
        super().__init__(" ".join(part for part in (problem, allowed, remedy) if part))


class CheckFailed(ArbexError):  # noqa: N818 - named after what happened
    """A check ran and failed."""

    exit_code = 1


class InputError(ArbexError):
    """An argument, file or folder that cannot be used."""


class DataError(InputError):
    """A data set or an image that cannot be used."""


class RunError(InputError):
    """A training run that is missing, incomplete or does not fit."""


class BundleError(InputError):
    """A bundle that is missing, incomplete, altered or does not fit."""


class UnsupportedError(InputError):
    """A name that is not known, or a combination of target, precision or option that is not offered."""


class BackendError(ArbexError):
    """A vendor's compiler or runtime failed; the cause is chained."""

    exit_code = 3


class MissingPackageError(BackendError):
    """A package that is needed for this step is not installed.

    Args:
        package: Import name of the package.
        purpose: What needs it, as a phrase such as ``running .onnx files``.
        extra: Extra of this project that installs it, or an empty string.
        remedy: What to do, if it is not the usual ``pip install`` line.
    """

    def __init__(self, package: str, purpose: str, *, extra: str = "", remedy: str = "") -> None:
        """Builds the paragraph from the package and its purpose."""
        default = (
            f"Install it with: pip install 'arbex[{extra}]'" if extra else f"Install it with: pip install {package}"
        )
        super().__init__(f"The package '{package}' is not installed; {purpose} needs it.", remedy=remedy or default)
        self.package = package


def reason(error: BaseException) -> str:
    """Returns the first line of an exception's message, without its full stop; without a message, its type's name."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # the exceptions of other packages may fail to say what they are
        lines = []
    return lines[0].rstrip(" .") if lines else type(error).__name__
