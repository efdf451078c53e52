"""Spark's own parser of SQL, in the JVM of a session, or in one that is started for it.

A session of Spark Connect has no JVM here, and gives nothing of a text but the result of running it.
"""

import atexit
import os
from dataclasses import dataclass
from functools import cache
from typing import Any

from py4j.java_gateway import JavaGateway, is_instance_of
from py4j.protocol import Py4JJavaError
from pyspark import SparkContext
from pyspark.errors import ParseException
from pyspark.sql import SparkSession

from kgspark.errors import StageError
from kgspark.spark.jvm.gateway import end_jvm, start_jvm
from kgspark.spark.jvm.java import check_java

_CATALYST = "org.apache.spark.sql.catalyst"


@dataclass(frozen=True)
class SqlParser:
    """A parser, and the gateway of the JVM that it is in."""

    gateway: JavaGateway
    parser: Any

    def parse(self, text: str) -> Any:
        """The root of the tree of an expression; ValueError with the reason if the text is none."""
        try:
            return self.parser.parseExpression(text)
        except ParseException as error:
            raise ValueError(str(error)) from None
        except Py4JJavaError as error:  # where there is no session, pyspark does not translate
            raise ValueError(str(error.java_exception.getMessage())) from None

    def is_plan(self, node: Any) -> bool:
        """True for a part of a query."""
        return bool(is_instance_of(self.gateway, node, f"{_CATALYST}.plans.logical.LogicalPlan"))

    def has_plan(self, node: Any) -> bool:
        """True for an expression with a query in it."""
        return bool(is_instance_of(self.gateway, node, f"{_CATALYST}.expressions.PlanExpression"))

    def function_group(self, name: str) -> str | None:
        """Spark's group of one of its own functions; None if it has no such function."""
        catalyst = self.gateway.jvm.org.apache.spark.sql.catalyst
        found = catalyst.analysis.FunctionRegistry.builtin().lookupFunction(catalyst.FunctionIdentifier(name))
        return str(found.get().getGroup()) if found.isDefined() else None


def parser_of(session: SparkSession) -> SqlParser:
    """The session's parser. StageError if the session has no JVM here, and there is no Java to start one."""
    if has_jvm(session):
        return SqlParser(SparkContext._gateway, session._jsparkSession.sessionState().sqlParser())
    return _parser_alone()


def has_jvm(session: SparkSession) -> bool:
    """True if the session's JVM is the driver of this process; False for Spark Connect."""
    return hasattr(session, "_jsparkSession")


@cache
def _parser_alone() -> SqlParser:
    try:
        check_java()
    except StageError as error:
        raise StageError(
            f"SQL with functions or subqueries is checked here before Spark Connect gets it; {error}"
        ) from None
    gateway = _start_parser()
    atexit.register(end_jvm, gateway)
    package = gateway.jvm.org.apache.spark.sql.catalyst.parser
    return SqlParser(gateway, getattr(getattr(package, "CatalystSqlParser$"), "MODULE$"))


def _start_parser() -> JavaGateway:
    remote = os.environ.pop("SPARK_REMOTE", None)  # for a client only
    try:
        return start_jvm({})
    finally:
        if remote is not None:
            os.environ["SPARK_REMOTE"] = remote
