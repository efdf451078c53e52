"""The SQL of relations that needs no Spark: arithmetic and comparisons of columns of numbers."""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kgspark.errors import ConfigError

_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "exp": np.exp,
    "greatest": np.maximum,
    "least": np.minimum,
    "ln": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "pow": np.power,
    "power": np.power,
    "sqrt": np.sqrt,
}
_WORDS = re.compile(r"\b(AND|OR|NOT)\b", re.IGNORECASE)


def evaluate(key: str, expression: str, columns: Mapping[str, np.ndarray], rows: int) -> np.ndarray:
    """The values of an expression, (rows,).

    key      the dotted key of the setting, for errors
    columns  numbers (rows,), by name

    Raises ConfigError for a column that is not there, and for SQL beyond arithmetic and comparisons.
    """
    text = re.sub(r"(?<![<>!=])=(?!=)", "==", expression.replace("<>", "!="))
    text = _WORDS.sub(lambda word: word[0].lower(), text).strip()
    try:
        value = _Values(columns).of(ast.parse(text, mode="eval").body)
    except (SyntaxError, _UnknownError) as error:
        what = str(error) if isinstance(error, _UnknownError) else "it cannot be read"
        raise ConfigError(
            f"{key}: {expression!r}: {what}; without Spark, expected arithmetic and comparisons of "
            f"{', '.join(columns) or 'numbers'}; a night reads all of Spark's SQL"
        ) from None
    return np.broadcast_to(value, rows)


class _UnknownError(Exception):
    pass


class _Values:
    """The value of each node of an expression."""

    def __init__(self, columns: Mapping[str, np.ndarray]) -> None:
        self._columns = columns

    def of(self, node: ast.AST) -> Any:
        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return float(number)
            case ast.Name(id=name) if name.lower() in self._columns:
                return self._columns[name.lower()]
            case ast.Name(id=name):
                raise _UnknownError(f"no column {name!r} of numbers")
            case ast.BinOp(left, op, right) if type(op) in _BINARY:
                return _BINARY[type(op)](self.of(left), self.of(right))
            case ast.Compare(left, [op], [right]) if type(op) in _BINARY:
                return _BINARY[type(op)](self.of(left), self.of(right))
            case ast.UnaryOp(ast.USub(), operand):
                return -self.of(operand)
            case ast.UnaryOp(ast.Not(), operand):
                return np.logical_not(self.of(operand))
            case ast.BoolOp(op, values):
                join = np.logical_and if isinstance(op, ast.And) else np.logical_or
                return join.reduce([self.of(value) for value in values])
            case ast.Call(ast.Name(id=name), arguments, []) if name.lower() in _FUNCTIONS:
                return _FUNCTIONS[name.lower()](*map(self.of, arguments))
        raise _UnknownError("it is more than that")
