"""A file of a ranked table with other columns or types is named, from its footer alone."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgspark.files import footers_in
from kgspark.published_schemas import published_schema
from kgspark.spark.ranking.audit.schema import check_schema

SCHEMA = published_schema("recommendations", "bigint")
RIGHT = pa.table(
    {"user_id": [1], "rank": [1], "movie_id": [7], "score": [0.5], "source": ["model"], "reason_movie_id": [8]}
    | {"model_id": ["transe-1"], "ds": ["2026-01-02"]},
    schema=SCHEMA,
)


def _cast(name: str, to: pa.DataType) -> pa.Table:
    at = RIGHT.schema.get_field_index(name)
    return RIGHT.set_column(at, name, RIGHT[name].cast(to))


def _folder(path: Path, *tables: pa.Table) -> Path:
    for number, table in enumerate(tables):
        pq.write_table(table, path / f"part-{number:05d}.parquet")
    (path / "_manifest.json").write_text("{}")
    return path


def _footers(path: Path, *tables: pa.Table) -> Mapping[str, Callable[[], pa.Schema]]:
    return footers_in(_folder(path, *tables))


OTHERS = {
    "rank as text": (_cast("rank", pa.string()), "rank", "rank is string, expected int32"),
    "rank as long": (_cast("rank", pa.int64()), "rank", "rank is int64, expected int32"),
    "score as text": (_cast("score", pa.string()), "score", "score is string, expected float"),
    "score as double": (_cast("score", pa.float64()), "score", "score is double, expected float"),
    "user as text": (_cast("user_id", pa.string()), "user_id", "user_id is string, expected int64"),
    "reason as text": (
        _cast("reason_movie_id", pa.string()),
        "reason_movie_id",
        "reason_movie_id is string, expected int64",
    ),
    "no score": (RIGHT.drop_columns("score"), "score", "no column score"),
    "no ds": (RIGHT.drop_columns("ds"), "ds", "no column ds"),
    "a further column": (RIGHT.append_column("note", pa.array(["x"])), "note", "unknown column note"),
    "a column twice": (RIGHT.append_column("rank", RIGHT["rank"]), "rank", "two columns rank"),
    "another order": (
        RIGHT.select(["rank", *[name for name in RIGHT.column_names if name != "rank"]]),
        "",
        "the columns are in the order rank, user_id, movie_id, score, source, reason_movie_id, model_id, ds, expected "
        "user_id, rank, movie_id, score, source, reason_movie_id, model_id, ds",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_part_with_another_schema_is_named(tmp_path: Path, name: str) -> None:
    other, column, difference = OTHERS[name]
    (found,) = check_schema(_footers(tmp_path, RIGHT, other, RIGHT), "recommendations", "bigint")
    assert (found.column, found.example) == (column, f"part-00001.parquet: {difference}")
    assert (found.status, found.blocks, found.table) == ("failed", True, "recommendations")


def test_every_part_and_difference_is_told(tmp_path: Path) -> None:
    (tmp_path / "part-00003.parquet").write_bytes(b"PAR1 cut")
    both = _cast("rank", pa.string()).drop_columns("score")
    found = check_schema(_footers(tmp_path, both, RIGHT, both), "recommendations", "bigint")
    assert [finding.example for finding in found[:4]] == [
        f"part-0000{part}.parquet: {difference}"
        for part in (0, 2)
        for difference in ("rank is string, expected int32", "no column score")
    ]
    assert found[4].example.startswith("part-00003.parquet: not a readable Parquet file: ")
    assert len(found) == 5


@pytest.mark.parametrize("id_type", ["bigint", "string"])
def test_right_files_pass(tmp_path: Path, id_type: str) -> None:
    for table in ("recommendations", "audiences"):
        (tmp_path / table).mkdir()
        folder = _folder(tmp_path / table, published_schema(table, id_type).empty_table())
        (found,) = check_schema(footers_in(folder), table, id_type)
        assert (found.check, found.status, found.value) == ("schema", "passed", 0.0)


def test_audiences_have_no_reason(tmp_path: Path) -> None:
    found = check_schema(_footers(tmp_path, RIGHT), "audiences", "bigint")
    assert "part-00000.parquet: unknown column reason_movie_id" in [finding.example for finding in found]


def test_types_of_ids_follow_the_night(tmp_path: Path) -> None:
    found = check_schema(_footers(tmp_path, RIGHT), "recommendations", "string")
    assert [finding.column for finding in found] == ["user_id", "movie_id", "reason_movie_id"]
