"""Every small change that can be made to a module."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_COMPARED: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
_COMPUTED: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "//"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "+"),
    ast.BitOr: ("|", "&"),
    ast.BitAnd: ("&", "|"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
}
_PLAIN_DECORATORS = {
    "abstractmethod", "classmethod", "contextmanager", "dataclass", "overload", "override",
    "property", "setter", "staticmethod", "total_ordering", "wraps",
}  # fmt: skip
"""Decorators without which a function or class cannot be used at all."""
_CACHES = {"cache", "cached_property", "lru_cache"}


@dataclass(frozen=True)
class Change:
    """A text that takes the place of another one in a file."""

    file: str
    """The path below the project's folder."""
    start: int
    end: int
    """Positions in the file's bytes."""
    text: str
    kind: str
    line: int
    """The line whose execution executes the change."""
    statement: int
    """The first line of the statement that it is part of."""
    at_first: bool
    """Whether it is executed once for all tests: when the module is loaded, or by the first call of
    a function whose result is cached."""

    @property
    def room(self) -> str:
        return Path(self.file).parts[1].removesuffix(".py")

    def applied(self, source: bytes) -> bytes:
        return source[: self.start] + self.text.encode() + source[self.end :]

    def compiles(self, source: bytes) -> bool:
        try:
            compile(self.applied(source), self.file, "exec")
        except SyntaxError:
            return False
        return True

    def diff(self, source: bytes) -> list[str]:
        """The lines that it removes and adds, with `-` and `+` before them."""
        before, after = (text.decode().splitlines() for text in (source, self.applied(source)))
        lines = list(difflib.unified_diff(before, after, lineterm="", n=0))[2:]
        return [line for line in lines if not line.startswith("@@")]


def changes_of(file: str, source: bytes) -> list[Change]:
    """All changes to a module, in the order of its text; some may not compile."""
    found = {(one.start, one.end, one.text): one for one in _Finder(file, source).found()}
    return [found[key] for key in sorted(found)]


class _Finder:
    def __init__(self, file: str, source: bytes) -> None:
        self.file = file
        self.source = source
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.statement = 1
        self.in_function = self.is_cached = False
        self.function = ""

    def found(self) -> Iterator[Change]:
        yield from self._body(ast.parse(self.source).body)

    def _body(self, body: list[ast.stmt]) -> Iterator[Change]:
        for statement in body:
            yield from self._of_statement(statement)

    # ---- statements ----

    def _of_statement(self, node: ast.stmt) -> Iterator[Change]:
        if _is_left_out(node):
            return
        self.statement = node.lineno
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from self._of_function(node)
            return
        yield from self._dropped(node)
        match node:
            case ast.ClassDef():
                yield from self._decorators(node, node.body[0].lineno)
                yield from self._body(node.body)
                return
            case ast.With() | ast.AsyncWith():
                yield from self._without_with(node)
            case ast.Try():
                for handler in node.handlers:
                    yield from self._emptied(handler.body, "except emptied")
                if node.finalbody:
                    yield from self._emptied(node.finalbody, "finally removed")
            case _:
                pass
        if isinstance(node, ast.If | ast.While):
            yield from self._condition(node.test)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "type_comment", "type_params"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.stmt):
                    yield from self._of_statement(child)
                elif isinstance(child, ast.ExceptHandler):
                    yield from self._body(child.body)
                elif isinstance(child, ast.match_case):
                    if child.guard is not None:
                        yield from self._condition(child.guard)
                    yield from self._body(child.body)
                elif isinstance(child, ast.AST):
                    self.statement = node.lineno
                    yield from self._of_expression(child)

    def _of_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Change]:
        first = next((one for one in node.body if not _is_text(one)), node.body[0])
        yield from self._decorators(node, first.lineno)
        for default in (*node.args.defaults, *filter(None, node.args.kw_defaults)):
            yield from self._of_expression(default)
        before = self.in_function, self.is_cached, self.function
        cached = any(_name_of(one) in _CACHES for one in node.decorator_list)
        self.in_function, self.is_cached, self.function = True, cached, node.name
        yield from self._body(node.body)
        self.in_function, self.is_cached, self.function = before

    def _decorators(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, line: int
    ) -> Iterator[Change]:
        for one in node.decorator_list:
            if _name_of(one) not in _PLAIN_DECORATORS:
                at = self.source.rindex(b"@", 0, self._start(one))
                yield self._change(at, self._end(one), "", "decorator dropped", line)

    def _dropped(self, node: ast.stmt) -> Iterator[Change]:
        match node:
            case ast.Expr(value=ast.Call() | ast.Await()):
                yield self._instead(node, "pass", "statement dropped")
            case ast.Raise() | ast.Delete() | ast.Continue() | ast.Break() | ast.Return(value=None):
                yield self._instead(node, "pass", "statement dropped")
            case ast.Return(value=ast.Constant(value=None)):
                yield self._instead(node, "pass", "statement dropped")
            case ast.Return(value=ast.Constant(value=False)):
                pass  # None is as false; that it becomes True is a change of a constant
            case ast.Return():
                yield self._instead(node, "return None", "return value dropped")
            case ast.AugAssign():
                yield self._instead(node, "pass", "statement dropped")
                if operator := _COMPUTED.get(type(node.op)):
                    was, text = operator
                    start, end = self._end(node.target), self._start(node.value)
                    yield from self._operator(start, end, was, text, node.lineno)
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
                if self.function != "__init__":  # whatever reads it next would not find it
                    yield self._instead(node, "pass", "statement dropped")
            case _:
                pass

    def _without_with(self, node: ast.With | ast.AsyncWith) -> Iterator[Change]:
        if all(item.optional_vars is None for item in node.items):
            last = self._end(node.items[-1].context_expr)
            end = self.source.index(b":", last) + 1
            yield self._change(self._start(node), end, "if True:", "with dropped", node.lineno)

    def _emptied(self, body: list[ast.stmt], kind: str) -> Iterator[Change]:
        if not (len(body) == 1 and isinstance(body[0], ast.Pass | ast.Raise)):
            yield self._change(
                self._start(body[0]), self._end(body[-1]), "pass", kind, body[0].lineno
            )

    # ---- expressions ----

    def _of_expression(self, node: ast.AST) -> Iterator[Change]:
        match node:
            case ast.Constant(value=bool() as truth):
                yield self._instead(node, str(not truth), "constant")
            case ast.Constant(value=int() | float() as number):
                for other in (number + 1, number - 1):
                    yield self._instead(node, repr(other), "constant")
            case ast.JoinedStr():
                return  # before Python 3.12 the positions of what is inside are not right
            case ast.UnaryOp(op=ast.Not()):
                yield self._instead(node, f"({self._text(node.operand)})", "not dropped")
            case ast.BoolOp():
                was, text = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
                for left, right in zip(node.values, node.values[1:], strict=False):
                    start, end = self._end(left), self._start(right)
                    yield from self._operator(start, end, was, text, left.lineno)
                for one in node.values:
                    value = "True" if was == "and" else "False"
                    yield self._instead(one, value, "condition dropped")
            case ast.Compare():
                left = node.left
                for operator, right in zip(node.ops, node.comparators, strict=True):
                    was, text = _COMPARED[type(operator)]
                    start, end = self._end(left), self._start(right)
                    yield from self._operator(start, end, was, text, left.lineno)
                    left = right
            case ast.BinOp():
                found = _COMPUTED.get(type(node.op))
                texts = any(_is_string(one) for one in (node.left, node.right))
                if found and not texts and (found[0] != "|" or self.in_function):
                    start, end = self._end(node.left), self._start(node.right)
                    yield from self._operator(start, end, *found, node.left.lineno)
            case _:
                pass
        if isinstance(node, ast.IfExp):
            yield from self._condition(node.test)
        for condition in getattr(node, "ifs", ()):
            yield from self._condition(condition)
        for child in ast.iter_child_nodes(node):
            yield from self._of_expression(child)

    def _condition(self, test: ast.expr) -> Iterator[Change]:
        yield self._instead(test, f"not ({self._text(test)})", "condition negated")
        yield self._instead(test, "True", "condition dropped")
        yield self._instead(test, "False", "condition dropped")

    # ---- positions ----

    def _operator(self, start: int, end: int, was: str, text: str, line: int) -> Iterator[Change]:
        between = self.source[start:end]
        if (at := between.find(was.encode())) >= 0:
            line += self.source[self.starts[line - 1] : start + at].count(b"\n")
            yield self._change(start + at, start + at + len(was), text, "operator", line)

    def _instead(self, node: ast.expr | ast.stmt, text: str, kind: str) -> Change:
        return self._change(self._start(node), self._end(node), text, kind, node.lineno)

    def _change(self, start: int, end: int, text: str, kind: str, line: int) -> Change:
        at_first = self.is_cached or (not self.in_function and kind != "decorator dropped")
        return Change(self.file, start, end, text, kind, line, self.statement, at_first)

    def _start(self, node: ast.expr | ast.stmt) -> int:
        return self.starts[node.lineno - 1] + node.col_offset

    def _end(self, node: ast.expr | ast.stmt) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.starts[node.end_lineno - 1] + node.end_col_offset

    def _text(self, node: ast.expr) -> str:
        return self.source[self._start(node) : self._end(node)].decode()


def _is_left_out(node: ast.stmt) -> bool:
    """Whether a statement is for type checkers, or says what a subclass has to answer."""
    match node:
        case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.Assert() | ast.Import():
            return True
        case ast.ImportFrom() | ast.Raise(exc=ast.Name(id="NotImplementedError")):
            return True
        case ast.ClassDef(bases=bases):
            return any(isinstance(one, ast.Name) and one.id == "Protocol" for one in bases)
    return _is_text(node)


def _name_of(decorator: ast.expr) -> str:
    named = decorator.func if isinstance(decorator, ast.Call) else decorator
    name: str = named.attr if isinstance(named, ast.Attribute) else getattr(named, "id", "")
    return name


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and _is_string(node.value)


def _is_string(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
