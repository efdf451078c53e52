"""Ids of typed columns as text. The spellings of ids in text files are tested in cleaning/test_values.py."""

from typing import Any

import pytest

from kgspark.spark.ids import id_text, read_id

CASES = [
    (
        "double",
        [1.0, -5.0, 1.5, 2.0**53, float("nan"), float("inf"), None],
        ["1", "-5", "1.5", "9.007199254740992E15", None, "Infinity", None],
        [1, -5, None, None, None, None, None],
    ),
    ("float", [7.0, 2.0**24], ["7", "1.6777216E7"], [7, None]),
    ("bigint", [2**63 - 1, -(2**63)], [str(2**63 - 1), str(-(2**63))], [2**63 - 1, -(2**63)]),
    ("decimal(10,2)", ["3.00", "3.50"], ["3", "3.50"], [3, None]),
    ("string", [" u1 ", "", "  "], [" u1 ", "", "  "], [None, None, None]),
    ("binary", ["12", "u 1"], ["12", "u 1"], [12, None]),
]


@pytest.mark.parametrize(("spark_type", "values", "texts", "integers"), CASES)
def test_typed_ids(spark: Any, spark_type: str, values: list[Any], texts: list[Any], integers: list[Any]) -> None:
    given = spark.createDataFrame([(i, None if v is None else str(v)) for i, v in enumerate(values)], "i int, v string")
    typed = given.select("i", given["v"].cast(spark_type).alias("v")).orderBy("i")
    text = id_text(typed["v"], typed.schema["v"].dataType)
    rows = typed.select(text.alias("text"), read_id(text, "bigint").alias("integer")).collect()
    assert [row["text"] for row in rows] == texts
    assert [row["integer"] for row in rows] == integers


def test_string_ids_have_no_blanks_around_them(spark: Any) -> None:
    texts = [" u1 ", "u 1", "", "  ", "NULL", " NULL", "007", "1.0"]
    frame = spark.createDataFrame([(text,) for text in texts], "v string")
    read = [row[0] for row in frame.select(read_id(frame["v"], "string", ["NULL"])).collect()]
    assert read == ["u1", "u 1", None, None, None, None, "007", "1.0"]


def test_bytes_that_are_no_text_are_no_id(spark: Any) -> None:
    """Else files would be written that readers refuse, or two ids would become one."""
    frame = spark.createDataFrame([(b"u1",), (b"\xf6\x01",), (b"\xf7\x01",)], "v binary")
    text = id_text(frame["v"], frame.schema["v"].dataType)
    assert [row[0] for row in frame.select(read_id(text, "string")).collect()] == ["u1", None, None]
