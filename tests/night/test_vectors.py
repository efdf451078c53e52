"""The tables of vectors: the values that ranking uses, with how to rank by them, and their audit."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgspark.content import columns_text, content_hash, sum_of_rows
from kgspark.night.checks.audit import audit_night
from kgspark.night.checks.vector_scores import _scores
from kgspark.night.night import Night
from kgspark.retrieval.index import FlatIndex
from kgspark.retrieval.scores import score_pairs
from kgspark.search_space import ITEMS, QUERIES, Metric, SearchSpace, Side, read_ids
from kgspark.spark.ranking.audit.checks import CHECKS
from kgspark.stages import publish, recommend, write_vectors
from kgspark.tables import MOVIE_VECTORS, RECOMMENDATIONS, USER_VECTORS, VECTORS
from nights import DATE, a_small_night, describe_again
from worlds.rankings import METRICS, random_world

SIDES: dict[str, tuple[Side, str]] = {USER_VECTORS: (QUERIES, "user_id"), MOVIE_VECTORS: (ITEMS, "movie_id")}
ROWS_PER_FILE = 10
TOLD = {"kgspark.metric": "l2", "kgspark.offset": "0.0", "kgspark.dimension": "8", "kgspark.width": "8"}


@pytest.fixture(scope="module")
def lake(small_night: Path, spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small night with vectors; these are not published."""
    lake = tmp_path_factory.mktemp("vectors") / "lake"
    shutil.copytree(small_night / "lake", lake)
    assert write_vectors.run(_night(small_night, lake, spark)).ran
    return lake


@pytest.fixture
def copy(lake: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(lake, tmp_path / "lake"))


def _night(small_night: Path, lake: Path, spark: Any, **sections: object) -> Night:
    vectors = {"enabled": True, "rows_per_file": ROWS_PER_FILE}
    return a_small_night(small_night / "source", lake, spark, **{"vectors": vectors} | sections)


def _files(lake: Path, table: str) -> list[Path]:
    return sorted((lake / "runs" / DATE / table).glob("*.parquet"))


def _read(lake: Path, table: str) -> pa.Table:
    return pa.concat_tables([pq.read_table(path, partitioning=None) for path in _files(lake, table)])


def _numbers(rows: pa.Table) -> np.ndarray:
    """float32 (rows, d)."""
    return np.stack(rows["vector"].to_numpy())


@pytest.mark.parametrize("table", VECTORS)
def test_rows_are_the_vectors_of_the_ranking_in_the_order_of_positions(lake: Path, table: str) -> None:
    folder, (side, column) = lake / "runs" / DATE / "search_space", SIDES[table]
    space, rows = SearchSpace.load(folder), _read(lake, table)
    assert rows.schema.field("vector").type == pa.list_(pa.float32(), 8)
    assert rows.column_names == [column, "vector", "source", "model_id", "ds"]
    assert rows[column].to_pylist() == read_ids(folder, side).to_pylist()
    assert _numbers(rows).tobytes() == space.vectors(side).tobytes()
    assert set(rows["source"].to_pylist()) == {"model"}
    assert [pq.read_metadata(path).num_rows for path in _files(lake, table)][:-1] == (
        [ROWS_PER_FILE] * ((len(rows) - 1) // ROWS_PER_FILE)
    )


@pytest.mark.parametrize("table", VECTORS)
def test_files_and_manifest_say_how_to_rank(small_night: Path, lake: Path, table: str) -> None:
    manifest = _night(small_night, lake, None).run.manifest(table)
    for path in _files(lake, table):
        told = {key.decode(): value.decode() for key, value in pq.read_schema(path).metadata.items()}
        assert told.pop("kgspark.rank_by").startswith("rank by the smallest Euclidean distance")
        assert told == TOLD
    scoring = manifest.details["scoring"]
    assert {key: str(scoring[key.removeprefix("kgspark.")]) for key in TOLD} == TOLD
    assert scoring["rank_by"] in manifest.details["described"]["columns"]["vector"]
    batches = _read(lake, table).combine_chunks().to_batches()
    schema = pq.read_schema(_files(lake, table)[0])
    assert manifest.content == content_hash(columns_text(schema), manifest.rows, sum(map(sum_of_rows, batches)))


def test_only_what_changed_runs_and_writes_the_same_bytes(small_night: Path, copy: Path, spark: Any) -> None:
    night = _night(small_night, copy, spark)
    assert not recommend.run(night).ran  # vectors were off when it ran
    assert not write_vectors.run(night).ran
    before = {path: path.read_bytes() for table in VECTORS for path in _files(copy, table)}
    _files(copy, MOVIE_VECTORS)[0].unlink()
    assert write_vectors.run(night).ran
    assert {path: path.read_bytes() for table in VECTORS for path in _files(copy, table)} == before
    assert not write_vectors.run(a_small_night(small_night / "source", copy)).ran  # they are off: nothing to do
    assert len(_files(copy, MOVIE_VECTORS)) == 2


def test_names_of_ones_own(small_night: Path, copy: Path, spark: Any) -> None:
    night = _night(small_night, copy, spark, names={"user": "customer", "movie": "sku", "movie_id": "sku"})
    recommend.run(night)
    assert "18 skus" in write_vectors.run(night).summary
    assert [_read(copy, table).column_names[0] for table in VECTORS] == ["customer_id", "sku"]
    assert _failed(audit_night(night, VECTORS)) == set()
    told = night.run.manifest(USER_VECTORS).details["described"]
    assert told["columns"]["customer_id"] == "id of the customer, as in the source"


def _failed(findings: list[Any]) -> set[tuple[str, str]]:
    return {(found.check, found.table) for found in findings if found.blocks}


def _with(rows: pa.Table, column: str, values: list[Any]) -> pa.Table:
    kind = rows.schema.field(column).type
    return rows.set_column(rows.schema.get_field_index(column), rows.schema.field(column), pa.array(values, kind))


def _one(column: str, change: Callable[[Any], Any]) -> Callable[[pa.Table], pa.Table]:
    """Changes the first value of a column."""
    return lambda rows: _with(rows, column, [change(rows[column][0].as_py()), *rows[column].to_pylist()[1:]])


def _swapped(rows: pa.Table) -> pa.Table:
    """Two ids have each other's vector."""
    first, second, *others = rows["vector"].to_pylist()
    return _with(rows, "vector", [second, first, *others])


BOTH = {("vector_scores", table) for table in VECTORS}
BROKEN: dict[str, tuple[Callable[[pa.Table], pa.Table], set[tuple[str, str]]]] = {
    "a vector is missing": (
        lambda rows: rows.slice(1),
        {("incomplete", USER_VECTORS), ("row_count", USER_VECTORS), *BOTH},
    ),
    "an id twice": (
        lambda rows: pa.concat_tables([rows, rows.slice(0, 1)]),
        {("incomplete", USER_VECTORS), ("row_count", USER_VECTORS)},
    ),
    "another one's id": (
        _one("user_id", lambda _: 999_999),
        {("incomplete", USER_VECTORS), ("unknown_id", USER_VECTORS), *BOTH},
    ),
    "a number is NaN": (_one("vector", lambda v: [float("nan"), *v[1:]]), {("vector_values", USER_VECTORS), *BOTH}),
    "a number is infinite": (_one("vector", lambda v: [*v[:-1], -np.inf]), {("vector_values", USER_VECTORS), *BOTH}),
    "a number is missing": (_one("vector", lambda v: [None, *v[1:]]), {("vector_values", USER_VECTORS), *BOTH}),
    "no vector": (_one("vector", lambda _: None), {("vector_values", USER_VECTORS), *BOTH}),
    "a number is a thousandth larger": (_one("vector", lambda v: [v[0] * 1.001, *v[1:]]), BOTH),
    "two vectors change places": (_swapped, BOTH),
    "another model": (_one("model_id", lambda _: "transe-0"), {("model_id", USER_VECTORS)}),
    "another night": (_one("ds", lambda _: "2026-01-01"), {("ds", USER_VECTORS)}),
    "no origin of a vector": (_one("source", lambda _: "popular"), {("vector_source", USER_VECTORS)}),
    "vectors of another length": (
        lambda rows: rows.set_column(1, "vector", pa.array([v[:7] for v in rows["vector"].to_pylist()], _of(7))),
        {("schema", USER_VECTORS)},
    ),
    "another metric is told": (
        lambda rows: rows.replace_schema_metadata(rows.schema.metadata | {b"kgspark.metric": b"inner_product"}),
        {("schema", USER_VECTORS)},
    ),
}


def _of(dimension: int) -> pa.DataType:
    return pa.list_(pa.field("element", pa.float32()), dimension)


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_found(small_night: Path, copy: Path, spark: Any, name: str) -> None:
    """Each change blocks the publication, by the checks that are named, and by no other one."""
    change, expected = BROKEN[name]
    path = _files(copy, USER_VECTORS)[0]
    pq.write_table(change(pq.read_table(path, partitioning=None)), path)
    describe_again(path.parent)
    assert _failed(audit_night(_night(small_night, copy, spark), VECTORS)) == expected


def test_every_check_of_vectors_is_broken_once() -> None:
    broken = {check for _, failures in BROKEN.values() for check, _ in failures}
    assert broken == {check.name for check in CHECKS if set(check.tables) & set(VECTORS)} | {"schema"}


def test_good_vectors_pass_and_a_wrong_movie_is_named(small_night: Path, copy: Path, spark: Any) -> None:
    night = _night(small_night, copy, spark)
    assert _failed(audit_night(night, VECTORS)) == set()
    path = _files(copy, MOVIE_VECTORS)[0]
    rows = pq.read_table(path, partitioning=None)
    pq.write_table(_one("vector", lambda v: [v[0] + 0.01, *v[1:]])(rows), path)
    describe_again(path.parent)
    [found, _] = [f for f in audit_night(night, VECTORS) if f.blocks]
    assert f"movie_id {rows['movie_id'][0]} has -" in found.example


def test_rows_of_popular_movies_follow_from_no_vector(small_night: Path, copy: Path, spark: Any) -> None:
    night = _night(small_night, copy, spark)
    path = _files(copy, RECOMMENDATIONS)[0]
    wrong = _one("score", lambda score: score + 0.001)(pq.read_table(path, partitioning=None))
    pq.write_table(wrong, path)
    assert _failed(audit_night(night, VECTORS)) == BOTH
    pq.write_table(_one("source", lambda _: "popular")(wrong), path)
    assert _failed(audit_night(night, VECTORS)) == set()


@pytest.mark.parametrize("metric", METRICS)
def test_rounding_is_no_difference_and_more_is_one(metric: Metric) -> None:
    """The scores that the ranking publishes, against those that a reader computes."""
    for seed in range(4):
        space = random_world(metric, seed).space
        index = FlatIndex(np.ascontiguousarray(space.items), metric, space.offset)
        movies = np.tile(np.arange(len(space.items)), (len(space.queries), 1))
        published = score_pairs(index, space.queries, movies)
        users = np.repeat(np.arange(len(space.queries)), len(space.items))
        own, tolerance = _scores(space.scoring, space.queries[users], space.items[movies.ravel()])
        difference = np.abs(published.ravel() - own)
        assert (difference <= tolerance).all()
        magnitude = np.abs(own).mean() + abs(space.offset)
        assert tolerance.mean() < 1e-4 * magnitude


def test_a_trend_is_told() -> None:
    """The last coordinate is no part of what is like what."""
    space = random_world("inner_product", 0).space
    dimension = space.items.shape[1]
    told = replace(space, width=dimension - 1).scoring
    assert f"to compare items with each other, take their first {dimension - 1} numbers" in told.rank_by
    assert "to compare items" not in space.scoring.rank_by
    assert replace(space, metric="l1", offset=2.5).scoring.rank_by.endswith("the score is 2.5 minus the distance")


def test_a_vector_store_gives_the_published_lists(lake: Path) -> None:
    """FAISS with the metric that the files tell, without what a user has seen, finds each user's published movies."""
    users, movies = (_read(lake, table) for table in VECTORS)
    assert pq.read_schema(_files(lake, MOVIE_VECTORS)[0]).metadata[b"kgspark.metric"] == b"l2"
    store = faiss.IndexFlatL2(8)
    store.add(_numbers(movies))
    ratings = pq.read_table(lake / "runs" / DATE / "ratings", partitioning=None).to_pandas()
    seen = ratings.groupby("user_id").movie_id.agg(set)
    published = pq.read_table(lake / "runs" / DATE / RECOMMENDATIONS, partitioning=None).to_pandas()
    lists = published.sort_values("rank").groupby("user_id").movie_id.agg(list)
    ids = movies["movie_id"].to_numpy()
    _, found = store.search(_numbers(users), len(ids))
    for user, row in zip(users["user_id"].to_pylist(), found, strict=True):
        assert [movie for movie in ids[row] if movie not in seen[user]][:5] == lists[user]


@pytest.mark.extended
def test_published_with_the_others_and_removed_when_off(small_night: Path, copy: Path, spark: Any) -> None:
    publish.run(_night(small_night, copy, spark))
    published = copy / "warehouse" / USER_VECTORS / f"ds={DATE}"
    assert pq.read_table(published, partitioning=None).num_rows == 36
    night = a_small_night(small_night / "source", copy, spark)
    assert publish.run(night).ran
    assert not published.exists()
