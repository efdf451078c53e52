"""The cause of an unforeseen error in one line: of real errors of Spark and the machine, and of texts of rare ones."""

import errno
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from kgspark.causes import cause_of, traceback_error, worker_error


def _cause(act: Any) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (any error: that is the point)
        act()
    line = cause_of(caught.value)
    assert "\n" not in line
    assert not any(noise in line for noise in ("Py4J", "SQLSTATE", "org.apache", "JVM stacktrace", "\tat "))
    return line


def test_an_error_in_a_python_worker_is_the_last_line_of_its_traceback(spark: Any) -> None:
    def fails(batches: Any) -> Any:
        for batch in batches:
            raise KeyError(f"no movie {batch.num_rows}")
        yield

    assert _cause(lambda: spark.range(7, numPartitions=1).mapInArrow(fails, "id long").collect()) == (
        "KeyError: 'no movie 7'"
    )


def test_a_half_written_parquet_file_is_named(spark: Any, tmp_path: Path) -> None:
    whole = tmp_path / "a b.parquet"
    pq.write_table(pa.table({"x": [1, 2, 3]}), whole)
    half = tmp_path / "half.parquet"
    half.write_bytes(whole.read_bytes()[:-5])
    line = _cause(lambda: spark.read.schema("x long").parquet(str(half)).collect())
    assert line.startswith(f"{half}")
    assert "not a Parquet file" in line


def test_parts_of_different_types_name_the_file_and_the_types(spark: Any, tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": pa.array([1], pa.int64())}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": ["text"]}), tmp_path / "b.parquet")
    line = _cause(lambda: spark.read.schema("x long").parquet(str(tmp_path)).collect())
    assert f"{tmp_path}/b.parquet" in line
    assert "bigint" in line
    assert "BINARY" in line


def test_a_file_that_was_removed_while_it_is_read_is_named(spark: Any, tmp_path: Path) -> None:
    path = tmp_path / "gone.parquet"
    pq.write_table(pa.table({"x": [1]}), path)
    frame = spark.read.schema("x long").parquet(str(path))
    path.unlink()
    line = _cause(frame.collect)
    assert str(path) in line
    assert "does not exist" in line


@pytest.mark.parametrize(
    ("act", "line"),
    [
        (lambda spark: spark.sql("select nme from range(3)"), "[UNRESOLVED_COLUMN.WITH_SUGGESTION] A column, "),
        (lambda spark: spark.sql("selec 1"), "[PARSE_SYNTAX_ERROR] Syntax error at or near 'selec'"),
        (lambda spark: spark.read.parquet("/no/such"), "[PATH_NOT_FOUND] Path does not exist: /no/such"),
        (lambda spark: spark.range(3).select(F.expr("1 div (id - 1)")).collect(), "[DIVIDE_BY_ZERO] Division by zero"),
        (
            lambda spark: spark.range(3).select(F.expr("cast('x' as int)")).collect(),
            "[CAST_INVALID_INPUT] The value 'x'",
        ),
    ],
)
def test_errors_of_sql_keep_their_class_and_message(spark: Any, act: Any, line: str) -> None:
    assert _cause(lambda: act(spark)).startswith(line)


def test_the_machine_s_conditions_say_what_to_do() -> None:
    def line(number: int) -> str:
        return cause_of(OSError(number, os.strerror(number), "/lake/part-0"))

    assert line(errno.ENOSPC).startswith("no space left on a disk (/lake/part-0); free some, or move ")
    assert line(errno.EMFILE).endswith(
        "(/lake/part-0); raise the limit of the process, for example with: ulimit -n 65536"
    )
    assert line(errno.EROFS).startswith("the file system is read-only (/lake/part-0); ")
    assert cause_of(MemoryError()).startswith("the machine has too little memory; ")
    assert cause_of(RecursionError("maximum recursion depth exceeded")).startswith("something is nested too deeply")


JAVA = """An error occurred while calling o478.parquet.
: org.apache.spark.SparkException: [TASK_WRITE_FAILED] Task failed while writing rows to file:/lake/x. SQLSTATE: 58030
\tat org.apache.spark.sql.errors.QueryExecutionErrors$.taskFailedWhileWritingRowsError(QueryExecutionErrors.scala:776)
Caused by: {cause}
\tat java.base/java.io.FileOutputStream.writeBytes(Native Method)
"""


@pytest.mark.parametrize(
    ("cause", "line"),
    [
        (
            "java.io.IOException: No space left on device",
            "no space left on a disk (while /lake/x was written); free some, ",
        ),
        (
            "java.io.FileNotFoundException: /s/blockmgr-1/0c/x (No space left on device)",
            "no space left on a disk (/s/bl",
        ),
        ("java.io.FileNotFoundException: /s/x (Too many open files)", "too many open files (/s/x); raise the limit"),
        ("java.lang.OutOfMemoryError: Java heap space", "Spark's memory is too small; raise spark.driver_memory"),
        ("java.io.IOException: Failed to create local dir in /s/x.", "no temporary folder can be written; "),
        ("java.lang.NullPointerException", "NullPointerException"),
        ("java.lang.IllegalStateException: the middle is not where it was left", "the middle is not where it was left"),
    ],
)
def test_the_innermost_cause_of_java_is_found(cause: str, line: str) -> None:
    error = type("Py4JJavaError", (Exception,), {"__module__": "py4j.protocol"})(JAVA.format(cause=cause))
    assert cause_of(error).startswith(line)


def test_an_error_that_cannot_be_told_is_named_by_its_class() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise ConnectionError("gone")

    assert cause_of(MuteError()) == "MuteError: ConnectionError: gone"
    assert cause_of(ValueError()) == "ValueError"
    assert cause_of(ValueError("\n first\nsecond")) == "ValueError: first"


def test_a_traceback_in_a_text() -> None:
    stack = 'Traceback (most recent call last):\n  File "a", line 1\n    f()\n'
    text = f"x\n{stack}ValueError: y\n\n{stack}kgspark.errors.InputError: a.csv: no\n\n\tat b"
    assert traceback_error(text) == "a.csv: no"
    assert traceback_error("no traceback") == ""


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("kgspark: error: too few users\nRuntimeError: a worker ended", "too few users"),
        ("  File x\nOSError: [Errno 28] No space left on device: '/x'\n", "no space left on a disk (/x); "),
        ("  File x\nValueError: a\nRuntimeError: b\n", "RuntimeError: b"),
        ("one line\nand another\n", "a worker failed: and another"),
    ],
)
def test_the_reason_is_found_in_what_workers_printed(output: str, reason: str) -> None:
    assert worker_error(output).startswith(reason)
