"""Steps that all edits of a traced program share."""

from __future__ import annotations

import copy
import warnings

from torch.fx import GraphModule, Node


def editable(program: GraphModule) -> GraphModule:
    """Returns a program with a graph of its own that shares the tensors of the given one.

    An edit may register and replace tensors without affecting the given program, but must not change one in place.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch itself uses what it has deprecated
        return GraphModule(program, copy.deepcopy(program.graph))


def finished(program: GraphModule) -> GraphModule:
    """Returns a program after an edit, checked and without dead code."""
    program.graph.eliminate_dead_code()
    program.graph.lint()
    program.recompile()
    return program


def replace_uses(node: Node, replacement: Node) -> None:
    """Makes all users of a node, except its replacement, read the replacement."""

    def is_other(user: Node) -> bool:
        return user is not replacement

    node.replace_all_uses_with(replacement, delete_user_cb=is_other)
