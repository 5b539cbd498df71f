"""A plan as text, a line for each node, for people who ask how a search runs."""

from dataclasses import fields, is_dataclass
from typing import Any


def tree(node: Any, depth: int = 0) -> str:
    """The plan below a node, indented by its depth."""
    children = getattr(node, "nodes", None)
    if children is None and is_dataclass(getattr(node, "node", None)):
        children = (node.node,)
    name = type(node).__name__.rstrip("_")
    if children is None:
        return "  " * depth + line(node)
    own = [f"{f.name}={getattr(node, f.name)}" for f in fields(node) if f.name not in ("node", "nodes")]
    head = "  " * depth + " ".join((name, *own)) + ("" if children else " (always)" if name == "All" else " (never)")
    return "\n".join((head, *(tree(child, depth + 1) for child in children)))


def line(node: Any) -> str:
    """A node on one line."""
    return repr(node).replace("Any_(", "Any(")
