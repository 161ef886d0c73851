"""Edits of a traced program."""

from __future__ import annotations

import copy
import warnings

from torch.fx import GraphModule, Node


def editable(program: GraphModule) -> GraphModule:
    """Returns a program with a graph of its own that shares the tensors of the given one.

    What an edit registers or replaces there, the given program does not see; a tensor must not be changed in place.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own use of what it has deprecated
        return GraphModule(program, copy.deepcopy(program.graph))


def finished(program: GraphModule) -> GraphModule:
    """Returns a program after an edit, checked and without what nothing uses any more."""
    program.graph.eliminate_dead_code()
    program.graph.lint()
    program.recompile()
    return program


def replace_uses(node: Node, replacement: Node) -> None:
    """Lets all users of a node but its replacement read the replacement."""

    def is_other(user: Node) -> bool:
        return user is not replacement

    node.replace_all_uses_with(replacement, delete_user_cb=is_other)
