"""SQL of a configuration reaches the rows of declared tables, and nothing else of the machine.

Spark's own parser reads the text, and each node of its tree that could lead elsewhere must be known to be harmless. So
a way to files, classes or settings that a later version of Spark adds is refused, too.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

from kgspark.errors import ConfigError
from kgspark.spark.jvm.sql_parser import SqlParser, parser_of

# Spark's groups of functions on values. Not among them is misc_funcs: its functions call Java methods, name files, read
# a schema from a file, or tell about the machine. Table functions are in none of them.
_FUNCTIONS = frozenset(
    f"{group}_funcs"
    for group in (
        "agg", "array", "bitwise", "collection", "conditional", "conversion", "csv", "datetime", "generator", "hash",
        "json", "lambda", "map", "math", "predicate", "string", "struct", "url", "window",
    )
)  # fmt: skip
# Spark's analysis replaces the nodes of this package by others. Apart from functions and tables, whose names are
# checked, these become columns only; what is left, such as IDENTIFIER(text), could become anything.
_ANALYSIS = "org.apache.spark.sql.catalyst.analysis."
_COLUMNS = frozenset(
    {
        "UnresolvedAlias",
        "UnresolvedAttribute",
        "UnresolvedExtractValue",
        "UnresolvedHaving",
        "UnresolvedInlineTable",
        "UnresolvedOrdinal",
        "UnresolvedStar",
        "UnresolvedSubqueryColumnAliases",
    }
)
_ALLOWED = "an expression may have columns, Spark's functions on values, and SELECT on declared tables"
_SUBQUERIES = frozenset({"Exists", "ListQuery", "ScalarSubquery"})
# The parts of a query on tables.
_QUERY = frozenset(
    {
        "Aggregate", "Distinct", "Except", "Filter", "GlobalLimit", "Intersect", "Join", "LocalLimit",
        "LocalRelation", "OneRowRelation", "Project", "Sort", "SubqueryAlias", "Union",
    }
)  # fmt: skip


def tables_in_sql(session: SparkSession, key: str, text: str, tables: Collection[str]) -> list[str]:
    """The names among `tables` that subqueries of the SQL expression `text` read, sorted.

    key     its dotted key, for errors
    tables  the tables that a subquery may read

    Raises ConfigError if it has more than columns, functions on values, and subqueries on `tables`; or if it has
    brackets and is no SQL.
    """
    if "${" in text:  # Spark replaces ${env:NAME} and ${spark.name} before it parses the text
        raise ConfigError(f"{key}: ${{...}} would read the environment or Spark's settings, which is not allowed here")
    if "(" not in text:  # neither a function nor a subquery
        return []
    declared = {name.casefold(): name for name in tables}
    found, parser = set(), parser_of(session)
    for node in _nodes(parser, _parsed(parser, key, text)):
        package, _, kind = node.getClass().getName().rpartition(".")
        if f"{package}." != _ANALYSIS:
            is_harmless = kind in _QUERY if parser.is_plan(node) else kind in _SUBQUERIES or not parser.has_plan(node)
        elif kind == "UnresolvedRelation":
            found.add(_declared(key, _texts(node.multipartIdentifier()), declared))
            is_harmless = True
        elif kind == "UnresolvedFunction":
            is_harmless = _is_on_values(parser, _texts(node.nameParts()))
        else:
            is_harmless = kind in _COLUMNS
        if not is_harmless:
            raise ConfigError(f"{key}: {_shown(node)} is not allowed; {_ALLOWED}")
    return sorted(found)


def _parsed(parser: SqlParser, key: str, text: str) -> Any:
    try:
        return parser.parse(text)
    except ValueError as error:
        raise ConfigError(f"{key}: {first_line(error)}") from None


def first_line(error: AnalysisException | ValueError) -> str:
    """The reason why Spark cannot parse or resolve an expression, in one line."""
    return str(error).strip().splitlines()[0].split(" SQLSTATE")[0]  # a syntax error begins with an empty line


def _nodes(parser: SqlParser, root: Any) -> Iterator[Any]:
    """Every node of a parsed expression, also of the queries in it."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += _items(node.children())
        if parser.is_plan(node):
            waiting += _items(node.expressions())
        elif parser.has_plan(node):
            waiting.append(node.plan())


def _items(sequence: Any) -> list[Any]:
    return [sequence.apply(i) for i in range(sequence.size())]


def _texts(sequence: Any) -> list[str]:
    return [str(text) for text in _items(sequence)]


def _shown(node: Any) -> str:
    """A node as one short line, in Spark's notation without its marks of what is not resolved yet."""
    text = " ".join(str(node.toString()).split()).replace("'", "")
    return text if len(text) <= 80 else text[:77] + "..."


def _is_on_values(parser: SqlParser, names: Sequence[str]) -> bool:
    """True for one of Spark's own functions on values."""
    return len(names) == 1 and parser.function_group(names[0]) in _FUNCTIONS


def _declared(key: str, names: Sequence[str], declared: Mapping[str, str]) -> str:
    """The declared name of a table in a subquery; ConfigError if it has none."""
    name = ".".join(names)
    if len(names) > 1 or name.casefold() not in declared:
        known = f"a subquery may read {', '.join(declared.values())}" if declared else "no subquery is allowed here"
        raise ConfigError(f"{key}: {name} is no declared table; {known}")
    return declared[name.casefold()]
