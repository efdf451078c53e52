"""The user's own tables are read by the rules of the ratings' lines, and what is refused is counted."""

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgspark.errors import InputError
from kgspark.spark.cleaning.settings import TableSource
from kgspark.spark.own_tables import RefusedLines, count_refused, own_signature, read_own_table


def source(folder: Path, content: str | bytes, **settings: Any) -> TableSource:
    path = folder / "facts.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return TableSource(path=str(path), **settings)


def rows(spark: Any, table: TableSource) -> list[tuple[Any, ...]]:
    return sorted(map(tuple, read_own_table(spark, "facts", table).collect()), key=str)


def refused(spark: Any, table: TableSource) -> list[RefusedLines]:
    return count_refused(spark, {"facts": table})


def test_quotes_are_those_of_rfc_4180_and_blanks_around_values_go(spark: Any, tmp_path: Path) -> None:
    table = source(
        tmp_path,
        "\ufeff why , movie_id\r\n"
        '"rights ""EU"", ended",m1\r\n'
        '"a, b",m2 \r\n'
        "x, m3\r\n"
        "\r\n"  # a blank line holds nothing, so that nothing is lost with it
        "Director 1 ,\r\n",
    )
    assert read_own_table(spark, "facts", table).columns == ["why", "movie_id"]
    assert rows(spark, table) == [
        ("Director 1", None),
        ("a, b", "m2"),
        ('rights "EU", ended', "m1"),
        ("x", "m3"),
    ]
    assert refused(spark, table) == []


LINES = [
    (b"Doe, the film,m1", "wrong_field_count"),
    (b"m1", "wrong_field_count"),
    ("Réal,m1".encode("latin-1"), "unreadable_encoding"),
    (b'"a line\nbreak",m1', "unparsable_line"),
    (b"Ann\x00,m1", "unreadable_encoding"),
]


@pytest.mark.parametrize(("line", "reason"), LINES, ids=[repr(line) for line, _ in LINES])
def test_a_line_that_cannot_be_read_is_refused_and_its_place_is_told(
    spark: Any, tmp_path: Path, line: bytes, reason: str
) -> None:
    table = source(tmp_path, b"title,movie_id\nHeat,m1\n\n" + line + b"\nRonin,m2\n")
    assert rows(spark, table) == [("Heat", "m1"), ("Ronin", "m2")]
    count = line.count(b"\n") + 1
    found = RefusedLines("facts", 2 + count, {reason: count}, "facts.csv:4")
    assert refused(spark, table) == [found]
    assert str(found) == f"facts: {count} of {2 + count} lines refused ({count} {reason}; the first is facts.csv:4)"
    found.check(0.5)
    with pytest.raises(
        InputError, match=r"facts: .* lines refused .*; that is \d\d\.\d\d%, and clean\.max_quarantined"
    ):
        found.check(0.1)


def test_another_encoding_and_separator_are_read_as_configured(spark: Any, tmp_path: Path) -> None:
    table = source(tmp_path, "nom;film\nRéal;7\n".encode("latin-1"), separator=";", encoding="iso-8859-1")
    assert rows(spark, table) == [("Réal", "7")]
    wide = source(tmp_path, "name::film\nAnn::7\n", separator="::")
    assert rows(spark, wide) == [("Ann", "7")]


def test_the_files_of_a_folder_are_one_table(spark: Any, tmp_path: Path) -> None:
    folder = tmp_path / "facts"
    folder.mkdir()
    for name, text in {
        "a.csv": "id,x\n1,a\n",
        "b.csv": "id,x\n2,b\nbad\n",
        "c.csv": "",
        "_SUCCESS": "",
        ".c": "z",
    }.items():
        (folder / name).write_text(text)
    table = TableSource(path=str(folder))
    assert rows(spark, table) == [("1", "a"), ("2", "b")]
    assert refused(spark, table) == [RefusedLines("facts", 3, {"wrong_field_count": 1}, "b.csv:3")]
    (folder / "d.csv").write_text("x,id\na,1\n")
    with pytest.raises(InputError, match=r"d\.csv:1: the header differs from that of .*a\.csv"):
        read_own_table(spark, "facts", table)
    (folder / "d.csv").unlink()
    (folder / "more[1]").mkdir()
    (folder / "more[1]" / "e.csv").write_text("id,x\n3,c\n")
    (folder / "e.csv.tmp").write_text("id,x\n4,d\n")
    assert rows(spark, table) == [("1", "a"), ("2", "b"), ("3", "c")]
    (folder / "more[1]" / "f +%.csv.gz").write_bytes(gzip.compress(b"id,x\n4,d\n5\n"))
    part = TableSource(path=str(folder / "m*"))
    assert rows(spark, part) == [("3", "c"), ("4", "d")]
    assert refused(spark, part) == [RefusedLines("facts", 3, {"wrong_field_count": 1}, "more[1]/f +%.csv.gz:3")]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"id,x,ID\n1,2,3\n", "facts.csv:1: the header names the column 'id' more than once"),
        (b"id,,x\n1,2,3\n", "facts.csv:1: the header has a column without a name: 'id,,x'"),
        (b"", "facts.csv: the file is empty; expected at least one line of data"),
        ("id,x\n1,a\n".encode("utf-16"), "facts.csv: the file is UTF-16; convert it to UTF-8"),
        (
            "id,Réal\n1,a\n".encode("latin-1"),
            "facts.csv:1: the header is no text in utf-8; set source.tables.facts.enc",
        ),
        (b"\x1f\x8b\x08\x00\x00", "facts.csv: by its first bytes the file is text in gzip, but"),
        (b"PK\x03\x04", "facts.csv: the file is a zip archive or an Excel workbook; unpack it"),
        (b'{"id": 1}\n', "facts.csv: the file is JSON lines, by its first line"),
        (b"PAR1\x15", "facts.csv: the files are Parquet by their first bytes; set source.tables.facts.format=parquet"),
    ],
)
def test_a_header_that_cannot_be_used_is_one_line(spark: Any, tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(InputError) as caught:
        read_own_table(spark, "facts", source(tmp_path, content))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_texts_of_parquet_are_trimmed_and_other_values_kept(spark: Any, tmp_path: Path) -> None:
    path = tmp_path / "facts.parquet"
    columns = {"id": [1.0, None], "name": [" Director 1 ", "  "], "genres": [[" Drama", "Action "], None]}
    pq.write_table(pa.table(columns), path)
    table = TableSource(path=str(path), format="parquet")
    assert rows(spark, table) == [(1.0, "Director 1", ["Drama", "Action"]), (None, None, None)]
    assert refused(spark, table) == []
    days = TableSource(path=str(tmp_path / "days[1]"), format="parquet")
    (tmp_path / "days[1]" / "day=7").mkdir(parents=True)
    path.rename(tmp_path / "days[1]" / "day=7" / "part-0.parquet")
    assert rows(spark, days) == [(1.0, "Director 1", ["Drama", "Action"], 7), (None, None, None, 7)]
    with pytest.raises(InputError, match=r"facts\.csv: the files are not Parquet .*\.tables\.facts\.format=csv"):
        read_own_table(spark, "facts", source(tmp_path, "id,x\n1,a\n", format="parquet"))


def test_parquet_files_of_a_table_belong_together_or_are_refused_before_a_job(spark: Any, tmp_path: Path) -> None:
    table = TableSource(path=str(tmp_path), format="parquet")
    for name, ids in (("a", pa.array([1], pa.int32())), ("b", pa.array([1 << 40], pa.int64()))):
        pq.write_table(pa.table({"id": ids, "odd`name": ["x "]}), tmp_path / f"{name}.parquet")
    assert rows(spark, table) == [(1, "x"), (1 << 40, "x")]
    pq.write_table(pa.table({"id": [2], "odd`name": pa.nulls(1)}), tmp_path / "b.parquet")  # as pandas writes a gap
    assert rows(spark, table) == [(1, "x"), (2, None)]
    pq.write_table(pa.table({"id": [3.0, None], "odd`name": ["x", "y"]}), tmp_path / "b.parquet")
    assert rows(spark, table) == [(1.0, "x"), (3.0, "x"), (None, "y")]
    wrong: list[tuple[str, Any, str]] = [
        ("c", {"id": ["m1"], "odd`name": ["x"]}, r"c\.parquet: id is string here and int32 in .*a\.parquet"),
        ("c", {"id": [1]}, r"c\.parquet: has the columns id, but .*a\.parquet has id, odd`name"),
        ("c", {"id": [1], "ID": [1]}, r"c\.parquet: the table has the column 'id' more than once"),
        ("c", {"id": pa.array([b"x" * 16], pa.uuid())}, r"c\.parquet: id is a UUID of 16 bytes, .* write it as text"),
        ("c", None, r"c\.parquet: the Parquet file cannot be read; it was cut off"),
        ("ID=7/c", {"id": [1]}, r"c\.parquet: the table has the column 'id' more than once"),
        (
            "day=7/c",
            {"id": [1], "odd`name": ["x"]},
            r"c\.parquet: has the columns id, odd`name, day, but .* has id, odd",
        ),
    ]
    for name, columns, says in wrong:
        path = tmp_path / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        if columns is None:
            path.write_bytes((tmp_path / "a.parquet").read_bytes()[:-20])
        else:
            pq.write_table(pa.table(columns), path)
        with pytest.raises(InputError, match=says):
            read_own_table(spark, "facts", table)
        path.unlink()


def test_folders_whose_values_look_different_are_one_column(spark: Any, tmp_path: Path) -> None:
    """The files differ in their types, so Spark reads them apart."""
    table = TableSource(path=str(tmp_path), format="parquet")
    for folder, ids in (("day=01", pa.array([1], pa.int32())), ("day=x", pa.array([2.0]))):
        (tmp_path / folder).mkdir()
        pq.write_table(pa.table({"id": ids}), tmp_path / folder / "a.parquet")
    assert rows(spark, table) == [(1.0, "01"), (2.0, "x")]
    (tmp_path / "day=x").rename(tmp_path / f"day={1 << 40}")
    assert rows(spark, table) == [(1.0, 1), (2.0, 1 << 40)]


def test_a_table_that_spark_opens_keeps_its_types_and_is_signed_by_its_rows(spark: Any, tmp_path: Path) -> None:
    def write(rows: str) -> None:
        spark.sql(f"SELECT * FROM VALUES {rows} AS t(movie_id, title, tags)").write.mode("overwrite").orc(folder)

    folder = str(tmp_path / "facts")
    table = TableSource(format="spark", reader="orc", path=folder)
    write("(1, ' Heat ', array(' x')), (2, '  ', array())")
    assert rows(spark, table) == [(1, "Heat", ["x"]), (2, None, [])]
    assert refused(spark, table) == []
    before = own_signature(lambda: spark, "facts", table)
    write("(2, '  ', array()), (1, ' Heat ', array(' x'))")
    assert own_signature(lambda: spark, "facts", table) == before
    write("(1, ' Heat ', array(' x')), (2, '  ', array('y'))")
    assert own_signature(lambda: spark, "facts", table) != before
    gone = TableSource(format="spark", reader="orc", path=str(tmp_path / "gone"))
    with pytest.raises(
        InputError, match=r"^source\.tables\.facts: .*/gone: no such path; correct source\.tables\.facts\.path$"
    ):
        own_signature(lambda: spark, "facts", gone)
