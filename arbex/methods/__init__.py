"""Training methods: what each adds to the model, and its loss.

A method is one file with one class; ``METHODS`` names it, and it is imported when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from arbex.errors import UnsupportedError

if TYPE_CHECKING:
    from arbex.methods.base import Method

METHODS = {"arbex": "arbex.methods.reliability:Reliability", "poster": "arbex.methods.poster:Poster"}
"""From the name on the command line to ``module:class``."""


def load_method(name: str) -> Method:
    """Returns the method of that name.

    Raises:
        UnsupportedError: If there is none.
    """
    if name not in METHODS:
        raise UnsupportedError(f"The method {name!r} is not known.", allowed=f"Known: {', '.join(METHODS)}.")
    module, _, attribute = METHODS[name].partition(":")
    method: Method = getattr(import_module(module), attribute)()
    return method
