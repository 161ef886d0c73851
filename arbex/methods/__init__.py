"""Training methods: what each adds to the model, its loss, and what it remembers.

A method is one file with one class; ``METHODS`` names it, and it is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from arbex.errors import RunError, UnsupportedError

if TYPE_CHECKING:
    from arbex.methods.base import Method

METHODS = {
    "arbex": "arbex.methods.reliability:Reliability",
    "poster": "arbex.methods.poster:Poster",
    "nla": "arbex.methods.nla:NavigatingLabelAmbiguity",
    "tcl": "arbex.methods.tcl:TripletCenter",
    "scn": "arbex.methods.scn:SelfCure",
    "rul": "arbex.methods.rul:RelativeUncertainty",
    "ran": "arbex.methods.ran:RegionAttention",
    "efficientface": "arbex.methods.efficientface:LabelDistribution",
}
"""From the name on the command line to ``module:class``."""


def method_class(name: str) -> type[Method[Any]]:
    """Returns the class of the method of that name.

    Raises:
        UnsupportedError: If there is none.
    """
    if name not in METHODS:
        raise UnsupportedError(f"The method {name!r} is not known.", allowed=f"Known: {', '.join(METHODS)}.")
    module, _, attribute = METHODS[name].partition(":")
    found: type[Method[Any]] = getattr(import_module(module), attribute)
    return found


def load_method(name: str, options: Mapping[str, Any] | None = None) -> Method[Any]:
    """Returns the method of that name.

    Args:
        name: Its name.
        options: Its options by name; those left out have the values of its publication.

    Raises:
        UnsupportedError: If there is none.
        RunError: If it has no such option.
        InputError: If a value cannot be trained with.
    """
    found = method_class(name)
    try:
        return found(found.options_type(**(options or {})))
    except TypeError as error:
        raise RunError(f"The method {name!r} has other options: {error}.") from error
