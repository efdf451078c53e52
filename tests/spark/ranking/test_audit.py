import math
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from kgspark.graph.layout import EntityLayout
from kgspark.spark.ranking import audit
from kgspark.spark.ranking.audit import Check, Invariant, RankedTable, audit_rankings
from kgspark.spark.ranking.candidates import Candidates
from kgspark.spark.ranking.executors import Direction

K = 3
USERS, MOVIES = [1, 2, 3, 40], [7, 8, 9, 10, 11]
LAYOUT = EntityLayout.from_counts([("user", len(USERS)), ("movie", len(MOVIES)), ("genre", 1)])
# User 3 has seen all but two movies, and user 40 nothing.
SEEN = {1: [7], 2: [8, 9], 3: [7, 8, 9], 40: []}
DIRECTION = Direction("user", "movie")

Row = dict[str, Any]


def _table() -> list[Row]:
    """A right table: equal scores are allowed."""
    rows = []
    for user in USERS:
        unseen = [movie for movie in MOVIES if movie not in SEEN[user]][:K]
        for rank, movie in enumerate(unseen, 1):
            rows.append({"user_id": user, "rank": rank, "movie_id": movie, "score": 1.0 if rank < 3 else -0.5})
    return rows


def _row(rows: list[Row], user: int, rank: int) -> Row:
    return next(row for row in rows if (row["user_id"], row["rank"]) == (user, rank))


def _frame(spark: Any, rows: list[Row]) -> Any:
    types = {"user_id": pa.int64(), "rank": pa.int32(), "movie_id": pa.int64(), "score": pa.float32()}
    return spark.createDataFrame(pa.Table.from_pylist(rows, schema=pa.schema(types)))


@pytest.fixture(scope="module")
def beside(spark: Any) -> tuple[Any, Any]:
    """Ratings and entities."""
    pairs = [(user, movie) for user in USERS for movie in SEEN[user]]
    ratings = pa.table({"user_id": [pair[0] for pair in pairs], "movie_id": [pair[1] for pair in pairs]})
    ids = [("user", user) for user in USERS] + [("movie", movie) for movie in MOVIES] + [("genre", "Drama")]
    entities = pa.table(
        {
            "index": list(range(len(ids))),
            "kind": [kind for kind, _ in ids],
            "external_id": [str(external) for _, external in ids],
        }
    )
    return spark.createDataFrame(ratings).coalesce(1), spark.createDataFrame(entities).coalesce(1)


def _audit(
    spark: Any, beside: tuple[Any, Any], rows: list[Row], direction: Direction = DIRECTION, k: int = K
) -> dict[str, Check]:
    (checks,) = audit_rankings([RankedTable(_frame(spark, rows), direction, k)], *beside, LAYOUT, "bigint")
    return {check.name: check for check in checks if check.failures}


def test_a_right_table_passes(spark: Any, beside: tuple[Any, Any]) -> None:
    assert _audit(spark, beside, _table()) == {}
    (checks,) = audit_rankings([RankedTable(_frame(spark, _table()), DIRECTION, K)], *beside, LAYOUT, "bigint")
    assert len({check.name for check in checks}) == 9


def _swap_ranks(rows: list[Row]) -> list[Row]:
    for rank, row in zip((2, 4), (_row(rows, 1, 2), _row(rows, 1, 3)), strict=True):
        row["rank"] = rank
    return rows


def _shift_ranks(rows: list[Row]) -> list[Row]:
    for row in rows:
        row["rank"] += row["user_id"] == 2
    return rows


def _set(user: int, at: int, /, **values: Any) -> Callable[[list[Row]], list[Row]]:
    def change(rows: list[Row]) -> list[Row]:
        _row(rows, user, at).update(values)
        return rows

    return change


def _drop(user: int, *ranks: int) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [row for row in rows if row["user_id"] != user or row["rank"] not in ranks]


def _add(user: int | None, rank: int, movie: int, score: float = -1.0) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [*rows, {"user_id": user, "rank": rank, "movie_id": movie, "score": score}]


ROWS, COUNT = "every id has its rows", "row count as expected"
BROKEN = [
    pytest.param(_drop(1, 3), {ROWS: 1, COUNT: 1}, "user_id 1", id="a row is missing"),
    pytest.param(_drop(40, 1, 2, 3), {ROWS: 1, COUNT: 3}, "user_id 40", id="a user is missing"),
    pytest.param(_add(1, 4, 11), {ROWS: 1, COUNT: 1}, "user_id 1", id="a row too many"),
    pytest.param(_add(99, 1, 7), {"no rows of an unknown id": 1, COUNT: 1}, "user_id 99", id="an unknown user"),
    pytest.param(_add(None, 1, 7), {"no rows of an unknown id": 1, COUNT: 1}, "user_id None", id="no user"),
    pytest.param(_swap_ranks, {"ranks run from 1 without gap": 1}, "user_id 1", id="a gap in the ranks"),
    pytest.param(_shift_ranks, {"ranks run from 1 without gap": 1}, "user_id 2", id="ranks from 2"),
    pytest.param(_set(2, 3, rank=2), {"ranks run from 1 without gap": 1}, "user_id 2", id="a rank twice"),
    pytest.param(_set(2, 1, rank=0), {"ranks run from 1 without gap": 1}, "user_id 2", id="ranks from 0"),
    pytest.param(_set(3, 2, rank=None), {"ranks run from 1 without gap": 1}, "user_id 3", id="no rank"),
    pytest.param(_set(40, 2, movie_id=7), {"no item twice": 1}, "user_id 40", id="a movie twice"),
    pytest.param(_set(1, 2, movie_id=7), {"no seen item": 1}, "user_id 1", id="a seen movie"),
    pytest.param(_set(1, 2, movie_id=77), {"items are known": 1}, "user_id 1", id="an unknown movie"),
    pytest.param(_set(1, 2, movie_id=None), {"items are known": 1}, "user_id 1", id="no movie"),
    pytest.param(_set(1, 1, score=math.nan), {"scores are finite": 1}, "user_id 1", id="NaN"),
    pytest.param(_set(1, 1, score=math.inf), {"scores are finite": 1}, "user_id 1", id="infinity"),
    pytest.param(_set(1, 3, score=-math.inf), {"scores are finite": 1}, "user_id 1", id="minus infinity"),
    pytest.param(_set(1, 2, score=None), {"scores are finite": 1}, "user_id 1", id="no score"),
    pytest.param(_set(3, 2, score=1.1), {"scores do not increase": 1}, "user_id 3", id="a later score is higher"),
]


@pytest.mark.parametrize(("change", "failures", "example"), BROKEN)
def test_each_check_fires_on_what_it_is_for_and_on_nothing_else(
    spark: Any,
    beside: tuple[Any, Any],
    change: Callable[[list[Row]], list[Row]],
    failures: dict[str, int],
    example: str,
) -> None:
    found = _audit(spark, beside, change(_table()))
    assert {name: check.failures for name, check in found.items()} == failures
    assert next(iter(found.values())).example == example


def _audiences() -> list[Row]:
    """Every movie's first two users that have not seen it."""
    rows = []
    for movie in MOVIES:
        for rank, user in enumerate([user for user in USERS if movie not in SEEN[user]][:2], 1):
            rows.append({"user_id": user, "rank": rank, "movie_id": movie, "score": 0.0})
    return rows


def test_the_other_direction(spark: Any, beside: tuple[Any, Any]) -> None:
    rows, direction = _audiences(), Direction("movie", "user")
    assert _audit(spark, beside, rows, direction, k=2) == {}
    next(row for row in rows if row["movie_id"] == 9)["user_id"] = 3
    found = _audit(spark, beside, rows, direction, k=2)
    assert list(found.values()) == [Check("no seen item", 1, "movie_id 9")]


def test_two_tables_in_one_pass_are_kept_apart(spark: Any, beside: tuple[Any, Any]) -> None:
    lists = RankedTable(_frame(spark, _set(1, 1, score=math.nan)(_table())), DIRECTION, K)
    audiences = RankedTable(_frame(spark, _audiences()), Direction("movie", "user"), 2)
    ours, theirs = audit_rankings([lists, audiences], *beside, LAYOUT, "bigint")
    assert [check.name for check in ours if check.failures] == ["scores are finite"]
    assert [check for check in theirs if check.failures] == []
    assert theirs[-1].example == "10 rows, 10 expected"


def test_a_table_without_rows_fails(spark: Any, beside: tuple[Any, Any]) -> None:
    found = _audit(spark, beside, [])
    assert {name: check.failures for name, check in found.items()} == {ROWS: 4, COUNT: 11}


@pytest.fixture(scope="module")
def candidates(spark: Any) -> Candidates:
    """Users 1 and 2 may have movies 7 to 9, user 3 may have 11, and user 40 is offered nothing."""
    segment = {1: "old", 2: "old", 3: "new", 40: "none"}
    movies = [(7, "old"), (8, "old"), (9, "old"), (11, "new")]
    return Candidates(
        spark.createDataFrame(list(segment.items()), "user_id bigint, segment string").coalesce(1),
        spark.createDataFrame(movies, "movie_id bigint, segment string").coalesce(1),
    )


OFFERED = {1: [8, 9], 2: [7], 3: [11]}


def _offered_table() -> list[Row]:
    return [
        {"user_id": user, "rank": rank, "movie_id": movie, "score": 1.0}
        for user, movies in OFFERED.items()
        for rank, movie in enumerate(movies, 1)
    ]


def _offered_audit(
    spark: Any, beside: Any, candidates: Candidates, rows: list[Row], direction: Direction = DIRECTION
) -> dict[str, int]:
    tables = [RankedTable(_frame(spark, rows), direction, K)]
    (checks,) = audit_rankings(tables, *beside, LAYOUT, "bigint", candidates)
    assert len({check.name for check in checks}) == 10
    return {check.name: check.failures for check in checks if check.failures}


def test_lists_are_as_long_as_what_is_offered(spark: Any, beside: Any, candidates: Candidates) -> None:
    assert _offered_audit(spark, beside, candidates, _offered_table()) == {}
    assert _offered_audit(spark, beside, candidates, _drop(2, 1)(_offered_table())) == {ROWS: 1, COUNT: 1}


def test_a_listed_item_that_is_not_offered_is_found(spark: Any, beside: Any, candidates: Candidates) -> None:
    changed = _set(3, 1, movie_id=10)(_offered_table())
    assert _offered_audit(spark, beside, candidates, changed) == {"only what is offered": 1}
    added = _add(40, 1, 7)(_offered_table())
    assert _offered_audit(spark, beside, candidates, added) == {ROWS: 1, COUNT: 1, "only what is offered": 1}


def test_audiences_are_counted_over_all_segments(spark: Any, beside: Any, candidates: Candidates) -> None:
    users = {7: [2], 8: [1], 9: [1], 11: [3]}
    rows = [
        {"user_id": user, "rank": rank, "movie_id": movie, "score": 1.0}
        for movie, found in users.items()
        for rank, user in enumerate(found, 1)
    ]
    direction = Direction("movie", "user")
    assert _offered_audit(spark, beside, candidates, rows, direction) == {}
    assert _offered_audit(spark, beside, candidates, rows[1:], direction) == {ROWS: 1, COUNT: 1}


TOY_INVARIANTS = [
    pytest.param(Invariant("scores are small", "row", "score > 10"), _set(2, 1, score=11.0), id="of a row"),
    pytest.param(Invariant("no movie 77", "item", "item = 77"), _set(2, 3, movie_id=77), id="of an item"),
    pytest.param(Invariant("lists are short", "query", "listed > 3"), _add(2, 4, 11), id="of a query"),
]


@pytest.mark.parametrize(("invariant", "change"), TOY_INVARIANTS)
def test_a_new_invariant_is_one_entry_of_the_table(
    spark: Any,
    beside: tuple[Any, Any],
    monkeypatch: pytest.MonkeyPatch,
    invariant: Invariant,
    change: Callable[[list[Row]], list[Row]],
) -> None:
    monkeypatch.setattr(audit, "INVARIANTS", (*audit.INVARIANTS, invariant))
    assert invariant.name not in _audit(spark, beside, _table())
    assert _audit(spark, beside, change(_table()))[invariant.name] == Check(invariant.name, 1, "user_id 2")
