"""The table of similar movies: exact, of offered movies only, and its audit."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from answered import assert_answers_are_the_tables
from kgspark.kge.export.similar import similar_space
from kgspark.night.checks.audit import audit_night
from kgspark.night.night import Night
from kgspark.search_space import ITEMS, SearchSpace, read_ids
from kgspark.spark.ranking.audit.findings import Finding
from kgspark.stages import publish, recommend, train_embeddings
from kgspark.tables import SIMILAR_ITEMS
from nights import DATE, a_small_night, describe_again

K = 4


@pytest.fixture(scope="module")
def lake(small_night: Path, spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small night with similar movies; nothing is published."""
    lake = tmp_path_factory.mktemp("similar") / "lake"
    shutil.copytree(small_night / "lake", lake)
    night = _night(small_night, lake, spark)
    train_embeddings.run(night)
    recommend.run(night)
    return lake


def _night(small_night: Path, lake: Path, spark: Any, **sections: object) -> Night:
    return a_small_night(small_night / "source", lake, spark, similar_items={"enabled": True, "k": K}, **sections)


def _cosines(lake: Path) -> tuple[list[int], np.ndarray]:
    """The ids of all movies, and the cosines float64 of the vectors that recommendations rank with."""
    folder = lake / "runs" / DATE / "search_space"
    space = SearchSpace.load(folder)
    vectors = space.items[:, : space.width].astype(np.float64)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return read_ids(folder, ITEMS).to_pylist(), units @ units.T


def _rows(lake: Path) -> dict[int, list[tuple[int, float]]]:
    """The list of each movie: pairs of a similar movie and the score, in the order of ranks."""
    table = pq.read_table(lake / "runs" / DATE / SIMILAR_ITEMS / "part-00000.parquet", partitioning=None)
    lists: dict[int, list[tuple[int, float]]] = {}
    for row in table.to_pylist():
        of_movie = lists.setdefault(row["movie_id"], [])
        of_movie.append((row["similar_movie_id"], row["score"]))
        assert row["rank"] == len(of_movie)
    return lists


def _assert_exact(lake: Path, offered: set[int]) -> None:
    ids, cosines = _cosines(lake)
    lists = _rows(lake)
    assert set(lists) == set(ids)
    for at, movie in enumerate(ids):
        others = sorted(offered - {movie}, key=lambda other: -cosines[at, ids.index(other)])
        assert len(lists[movie]) == min(K, len(others))
        assert {similar for similar, _ in lists[movie]} <= offered - {movie}
        expected = [cosines[at, ids.index(other)] for other in others[:K]]
        np.testing.assert_allclose([score for _, score in lists[movie]], expected, atol=1e-5)


def test_lists_have_the_nearest_movies_by_cosine(lake: Path) -> None:
    _assert_exact(lake, set(_cosines(lake)[0]))


def test_a_recommender_answers_with_the_same_lists(lake: Path) -> None:
    assert_answers_are_the_tables(lake)


@pytest.mark.extended
def test_only_what_is_offered_is_similar_to_all(small_night: Path, lake: Path, spark: Any, tmp_path: Path) -> None:
    copy = tmp_path / "lake"
    shutil.copytree(lake, copy)
    candidates = {
        "where": "movie_id % 5 = 0",
        "segments": {"some": {"users": "user_id % 2 = 0", "movies": "movie_id % 2 = 0"}},
    }
    night = _night(small_night, copy, spark, candidates=candidates)
    recommend.run(night)
    ids = set(_cosines(copy)[0])
    _assert_exact(copy, {movie for movie in ids if movie % 5 == 0})
    assert _failed(audit_night(night, [SIMILAR_ITEMS])) == {}
    publish.run(night)
    assert_answers_are_the_tables(copy)

    def offer_another(rows: pa.Table) -> pa.Table:
        other = next(movie for movie in ids if movie % 5 and movie != rows["movie_id"][0].as_py())
        return _changed(rows, "similar_movie_id", 0, other)

    _alter(copy, offer_another)
    assert {"not_offered", "model_scores"} <= _failed(audit_night(night, [SIMILAR_ITEMS])).keys()


def _failed(findings: list[Finding]) -> dict[str, float | None]:
    return {f.check: f.value for f in findings if f.status == "failed" and f.severity == "block"}


def _alter(lake: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    folder = lake / "runs" / DATE / SIMILAR_ITEMS
    path = folder / "part-00000.parquet"
    rows = pq.read_table(path, partitioning=None)
    pq.write_table(change(rows).cast(rows.schema), path)
    describe_again(folder)


def _changed(rows: pa.Table, column: str, at: int, value: float) -> pa.Table:
    values = rows[column].to_pylist()
    values[at] = value
    return rows.set_column(
        rows.schema.get_field_index(column), column, pa.array(values, rows.schema.field(column).type)
    )


def _without_the_best(rows: pa.Table, lake: Path) -> pa.Table:
    """The first list starts at its second movie, and ends with the one that is next after its last, by right scores."""
    ids, cosines = _cosines(lake)
    movie = rows["movie_id"][0].as_py()
    at = ids.index(movie)
    order = [other for other in np.argsort(-cosines[at], kind="stable") if other != at][1 : K + 1]
    for place, other in enumerate(order):
        rows = _changed(_changed(rows, "similar_movie_id", place, ids[other]), "score", place, cosines[at, other])
    return rows


BROKEN: dict[str, tuple[Callable[[pa.Table, Path], pa.Table], set[str]]] = {
    "a wrong score": (lambda rows, lake: _changed(rows, "score", 0, rows["score"][0].as_py() + 0.01), {"model_scores"}),
    "itself": (
        lambda rows, lake: _changed(
            _changed(rows, "similar_movie_id", 0, rows["movie_id"][0].as_py()), "score", 0, 1.0
        ),
        {"seen_item", "top_k"},
    ),
    "a row less": (lambda rows, lake: rows.slice(0, len(rows) - 1), {"incomplete", "row_count"}),
    "the best one is missing": (_without_the_best, {"top_k"}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_found(small_night: Path, lake: Path, spark: Any, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "lake"
    shutil.copytree(lake, copy)
    change, checks = BROKEN[name]
    _alter(copy, lambda rows: change(rows, lake))
    assert _failed(audit_night(_night(small_night, copy, spark), [SIMILAR_ITEMS])).keys() == checks


@pytest.mark.extended
def test_the_table_is_published_with_the_others(small_night: Path, lake: Path, spark: Any, tmp_path: Path) -> None:
    copy = tmp_path / "lake"
    shutil.copytree(lake, copy)
    publish.run(_night(small_night, copy, spark))
    published = pq.read_table(copy / "warehouse" / SIMILAR_ITEMS)
    assert published.num_rows == sum(map(len, _rows(copy).values()))
    night = a_small_night(small_night / "source", copy, spark)  # the table is not wanted any more
    recommend.run(night)
    publish.run(night)
    assert not (copy / "warehouse" / SIMILAR_ITEMS / f"ds={DATE}").exists()


def test_a_trend_does_not_make_movies_alike() -> None:
    vectors = np.array([[3, 4, 9], [-4, 3, 9], [0, 0, 5]], np.float32)
    sources = np.array([2, 1, 0], np.uint8)
    space = SearchSpace(vectors[:1], vectors, sources[:1], sources, "inner_product", 0.0, "m-1", width=2)
    similar = similar_space(space)
    np.testing.assert_allclose(similar.queries @ similar.items.T, [[1, 0, 0], [0, 1, 0], [0, 0, 0]], atol=1e-6)
    assert similar.query_sources.tolist() == similar.item_sources.tolist() == [2, 1, 0]
    assert (similar.metric, similar.model_id) == ("inner_product", "m-1")
