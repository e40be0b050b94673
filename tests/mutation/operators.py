"""The small changes that a mutation check makes to a file, each as a careless hand might make it.

Left out is what decides nothing: annotations, docstrings, errors that are raised and their words, assertions (of what
cannot happen), decorators, imports and the defaults of a spec's fields, which are settings rather than logic.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
}
NAMES = {"min": "max", "argmin": "argmax", "amin": "amax", "any": "all", "clamp_min": "clamp_max", "sin": "cos"}
NAMES |= {"minimum": "maximum", "zeros_like": "ones_like", "zeros": "ones", "mean": "sum", "logical_and": "logical_or"}
NAMES |= {other: name for name, other in NAMES.items()}
SKIPPED = ("annotation", "returns", "decorator_list", "type_comment")
SKIPPED_NODES = (ast.Raise, ast.Assert, ast.Import, ast.ImportFrom, ast.JoinedStr)


@dataclass(frozen=True, kw_only=True)
class Site:
    """A place in a syntax tree, and what to put there."""

    holder: Any
    """A node, or a list of nodes."""
    key: Any
    """Its field, or the index."""
    fresh: ast.AST
    line: int

    def mutant(self, tree: ast.Module) -> str:
        """The source of `tree` with this change alone."""
        old = self._put(self.fresh)
        text = ast.unparse(ast.fix_missing_locations(tree))
        self._put(old)
        return text

    def _put(self, node: ast.AST) -> Any:
        if isinstance(self.holder, list):
            old, self.holder[self.key] = self.holder[self.key], node
        else:
            old = getattr(self.holder, self.key)
            setattr(self.holder, self.key, node)
        return old


def sites(tree: ast.Module) -> list[Site]:
    """Every change, in the order of the file."""
    return list(_inside(tree, 0))


def _inside(node: ast.AST, line: int) -> Iterator[Site]:
    line = getattr(node, "lineno", line)
    for name, value in ast.iter_fields(node):
        if name in SKIPPED or (name == "value" and _is_default(node)):
            continue
        holder, keys = (value, range(len(value))) if isinstance(value, list) else (node, [name])
        for key in keys:
            child = value[key] if isinstance(value, list) else value
            if not isinstance(child, ast.AST) or isinstance(child, SKIPPED_NODES):
                continue
            for fresh in _instead(child):
                yield Site(holder=holder, key=key, fresh=fresh, line=getattr(child, "lineno", line))
            if not (isinstance(child, ast.ClassDef) and "Error" in child.name):
                yield from _inside(_marked(child, node), line)


def _marked(child: ast.AST, parent: ast.AST) -> ast.AST:
    if isinstance(parent, ast.ClassDef):
        child.in_class = True  # type: ignore[attr-defined]
    return child


def _is_default(node: ast.AST) -> bool:
    declared = isinstance(node, ast.AnnAssign) and getattr(node, "in_class", False)
    return declared and "ClassVar" not in ast.unparse(node.annotation)  # type: ignore[attr-defined]


def _instead(node: ast.AST) -> Iterator[ast.AST]:
    """What could stand in place of a node."""
    if type(node) in SWAPS:
        yield SWAPS[type(node)]()
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Constant):
        yield from _other_constant(node.value)
    elif isinstance(node, ast.If | ast.IfExp) and not isinstance(node.test, ast.UnaryOp):
        arms = (node.body, node.orelse)
        opposite = ast.UnaryOp(op=ast.Not(), operand=node.test)
        yield type(node)(test=opposite, body=arms[0], orelse=arms[1])
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in NAMES:
        func = ast.Attribute(value=node.func.value, attr=NAMES[node.func.attr], ctx=ast.Load())
        yield ast.Call(func=func, args=node.args, keywords=node.keywords)
    elif (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)) or isinstance(node, ast.AugAssign):
        yield ast.Pass()


def _other_constant(value: object) -> Iterator[ast.AST]:
    if isinstance(value, bool):
        yield ast.Constant(value=not value)
    elif isinstance(value, int):
        yield ast.Constant(value={0: 1, 1: 0}.get(value, value + 1))
    elif isinstance(value, float):
        yield ast.Constant(value=value * 2 if value else 1.0)
