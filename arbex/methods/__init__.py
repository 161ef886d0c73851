"""Training methods: the head that each needs, its losses, and its state.

A method is one file with one class. ``METHODS`` names it; it is imported when it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from arbex.checks import check_name
from arbex.registry import load

if TYPE_CHECKING:
    from arbex.methods.base import Method, MethodOptions

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
"""``module:class`` of each method by its name on the command line."""


def method_class(name: str) -> type[Method[Any]]:
    """Returns the class of a method.

    Raises:
        UnsupportedError: If there is no method of that name.
    """
    found: type[Method[Any]] = load("method", name, METHODS)
    return found


def read_options(name: str, values: Mapping[str, Any]) -> MethodOptions:
    """Builds the options of a method.

    Args:
        name: Name of the method.
        values: Options by name. The others have the values of the method's publication.

    Raises:
        UnsupportedError: If there is no such method, or the method has no such option.
        InputError: If a value is out of its range.
    """
    kind = method_class(name).options_type
    for option in values:
        check_name("option", option, [field.name for field in fields(kind)], of=f"the method {name!r}")
    return kind(**values)


def load_method(name: str, options: MethodOptions | None = None) -> Method[Any]:
    """Returns a method.

    Args:
        name: Name of the method.
        options: Options of the method; by default those of its publication.

    Raises:
        UnsupportedError: If there is no such method.
    """
    return method_class(name)(options)
