import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from kgspark.errors import ConfigError
from kgspark.graph.layout import EntityLayout
from kgspark.published_schemas import published_schema
from kgspark.spark.ranking.audit import checks
from kgspark.spark.ranking.audit.checks import Check
from kgspark.spark.ranking.audit.counts import NightFacts, RankedTable, earlier_rows, listed_rows, union
from kgspark.spark.ranking.audit.findings import Finding
from kgspark.spark.ranking.audit.lists import Beside, audit_lists, audit_rows, sql_checks, top_share
from kgspark.spark.ranking.audit.settings import AuditSettings
from kgspark.spark.ranking.candidates import Candidates
from kgspark.spark.ranking.executors import Direction
from kgspark.tables import RANKED

# The checks of lists; tests/night/test_vectors.py has those of vectors.
CHECKS = {check.name for check in checks.CHECKS if set(check.tables) & set(RANKED) and not check.only_with}
K = 3
USERS, MOVIES = [1, 2, 3, 40], [7, 8, 9, 10, 11]
LAYOUT = EntityLayout.from_counts([("user", len(USERS)), ("movie", len(MOVIES)), ("genre", 1)])
# User 3 has seen all but two movies, and user 40 nothing. User 2 likes none of the rated movies.
SEEN = {1: {7: 5.0}, 2: {8: 2.0, 9: 1.0}, 3: {7: 4.0, 8: 4.5, 9: 3.0}, 40: {}}
NIGHT = NightFacts(ds="2026-01-02", model_id="transe-1", liked="rating >= 4")
USERS_TO_MOVIES, MOVIES_TO_USERS = Direction("user", "movie"), Direction("movie", "user")

Row = dict[str, Any]
Change = Callable[[list[Row]], list[Row]]


def _constants() -> Row:
    return {"source": "model", "model_id": NIGHT.model_id, "ds": NIGHT.ds}


def _table() -> list[Row]:
    """A right table of recommendations: equal scores are allowed."""
    rows = []
    for user in USERS:
        unseen = [movie for movie in MOVIES if movie not in SEEN[user]][:K]
        reason = next((movie for movie, rating in SEEN[user].items() if rating >= 4), None)
        for rank, movie in enumerate(unseen, 1):
            score = {1: 1.0, 2: 1.0 if user == 1 else 0.5, 3: -0.5}[rank]
            row = {"user_id": user, "rank": rank, "movie_id": movie, "score": score, "reason_movie_id": reason}
            rows.append(row | _constants())
    return rows


def _audiences() -> list[Row]:
    """Every movie's first two users that have not seen it."""
    rows = []
    for movie in MOVIES:
        for rank, user in enumerate([user for user in USERS if movie not in SEEN[user]][:2], 1):
            rows.append({"user_id": user, "rank": rank, "movie_id": movie, "score": 1.0 - rank} | _constants())
    return rows


def _row(rows: list[Row], user: int, rank: int) -> Row:
    return next(row for row in rows if (row["user_id"], row["rank"]) == (user, rank))


# A table under test: its name, its rows, and those of the last published night.
Given = tuple[str, list[Row], list[Row] | None]


def _lists(rows: list[Row], before: list[Row] | None = None) -> Given:
    return "recommendations", rows, before


def _of_movies(rows: list[Row]) -> Given:
    return "audiences", rows, None


def _frame(spark: Any, name: str, of_cases: Mapping[int, list[Row]]) -> Any:
    """The rows of several tables of one name in one frame, whose column `case` counts the tables."""
    schema = published_schema(name, "bigint").append(pa.field("case", pa.int32()))
    rows = [row | {"case": case} for case, some in of_cases.items() for row in some]
    return spark.createDataFrame(pa.Table.from_pylist(rows, schema=schema)).coalesce(1)


@pytest.fixture(scope="module")
def beside(spark: Any) -> Beside:
    rated = [(user, movie, rating) for user in USERS for movie, rating in SEEN[user].items()]
    ratings = pa.table(dict(zip(("user_id", "movie_id", "rating"), map(list, zip(*rated, strict=True)), strict=True)))
    ids = [("user", user) for user in USERS] + [("movie", movie) for movie in MOVIES] + [("genre", "Drama")]
    entities = pa.table(
        {
            "index": list(range(len(ids))),
            "kind": [kind for kind, _ in ids],
            "external_id": [str(external) for _, external in ids],
        }
    )
    frames = (spark.createDataFrame(table).coalesce(1) for table in (ratings, entities))
    return Beside(*frames, LAYOUT, "bigint")


DIRECTIONS = {"recommendations": (Direction("user", "movie"), K), "audiences": (Direction("movie", "user"), 2)}


def _findings(spark: Any, given: Sequence[Given], beside: Beside, **settings: Any) -> list[dict[str, Finding]]:
    """The findings of each table by check; one pass over all tables, with one frame per name and night."""
    chosen = AuditSettings.model_validate(settings)
    listed, earlier, tables = [], [], {}
    for name in dict.fromkeys(name for name, _, _ in given):
        cases = [(case, rows, before) for case, (other, rows, before) in enumerate(given) if other == name]
        rows = _frame(spark, name, {case: rows for case, rows, _ in cases})
        before = _frame(spark, name, {case: before for case, _, before in cases if before is not None})
        table = RankedTable(name, rows, *DIRECTIONS[name], before)
        tables |= {case: table for case, _, _ in cases}
        listed += [listed_rows(F.col("case"), table, NIGHT, sql_checks(), list(chosen.own.items()))]
        earlier += [earlier_rows(F.col("case"), table, "bigint")]
    in_order = [tables[case] for case in range(len(given))]
    then = union(earlier) if any(before for _, _, before in given) else None
    found = audit_rows(union(listed), then, in_order, NIGHT, beside, chosen)
    assert [{finding.table for finding in of_table} for of_table in found] == [{name} for name, _, _ in given]
    return [{finding.check: finding for finding in of_table} for of_table in found]


def _failed(findings: dict[str, Finding]) -> dict[str, float | None]:
    return {name: finding.value for name, finding in findings.items() if finding.status == "failed"}


def _blocking(findings: dict[str, Finding]) -> dict[str, float | None]:
    return {name: finding.value for name, finding in findings.items() if finding.blocks}


def test_a_right_table_passes_every_check_and_shares_are_told(spark: Any, beside: Beside) -> None:
    given = [_lists(_table()), _of_movies(_audiences()), _lists(_with_popular_movies())]
    lists, audiences, of_popular = _findings(spark, given, beside)
    assert _failed(lists) == _failed(of_popular) == {}
    assert of_popular["fallback_rows"].value == 4 / 11
    # User 1 leads the audiences of 4 of 5 movies, and 1 % of 4 users is one user.
    assert _failed(audiences) == {"concentration": 0.8}
    expected = CHECKS - {"not_offered", "model_scores", "top_k"}
    assert set(lists) == expected - {"concentration"}
    assert set(audiences) == expected - {"coverage", "reason", "source_order"}
    values = {name: lists[name].value for name in ("fallback_rows", "coverage", "list_churn", "id_churn")}
    assert values == {"fallback_rows": 0.0, "coverage": 1.0, "list_churn": None, "id_churn": None}
    assert lists["list_churn"].status == "not measured"
    assert lists["row_count"].example == "11 rows, 11 expected"


def _swap_ranks(rows: list[Row]) -> list[Row]:
    for rank, row in zip((2, 4), (_row(rows, 1, 2), _row(rows, 1, 3)), strict=True):
        row["rank"] = rank
    return rows


def _shift_ranks(rows: list[Row]) -> list[Row]:
    for row in rows:
        row["rank"] += row["user_id"] == 2
    return rows


def _set(user: int, at: int, /, **values: Any) -> Change:
    def change(rows: list[Row]) -> list[Row]:
        _row(rows, user, at).update(values)
        return rows

    return change


def _set_all(**values: Any) -> Change:
    return lambda rows: [row | values for row in rows]


def _drop(user: int, *ranks: int) -> Change:
    return lambda rows: [row for row in rows if row["user_id"] != user or row["rank"] not in ranks]


def _add(user: int | None, rank: int, movie: int, score: float = -1.0, reason: int | None = None) -> Change:
    row = {"user_id": user, "rank": rank, "movie_id": movie, "score": score, "reason_movie_id": reason}
    return lambda rows: [*rows, row | _constants()]


def _with_popular_movies() -> list[Row]:
    """A right table: user 1 lacks a movie of the model, and user 40 has no vector. Popular movies have no reason."""
    rows = _set(1, 3, source="popular", reason_movie_id=None)(_table())
    _set(1, 2, score=0.5)(rows)  # two rows of the model with one score would be a constant list
    for rank, source in enumerate(("popular_in_segment", "popular", "popular"), 1):
        _set(40, rank, source=source, score=0.0)(rows)
    return rows


# What is changed, the failed checks with their values, and the first example.
BROKEN: dict[str, tuple[Change, dict[str, float], str]] = {
    "a row is missing": (_drop(2, 3), {"incomplete": 1, "row_count": 1}, "user_id 2"),
    "a user is missing": (_drop(40, 1, 2, 3), {"incomplete": 1, "row_count": 3}, "user_id 40"),
    "a row too many": (_add(1, 4, 11, reason=7), {"incomplete": 1, "row_count": 1}, "user_id 1"),
    "an unknown user": (_add(99, 1, 7), {"unknown_id": 1, "row_count": 1}, "user_id 99"),
    "no user": (_add(None, 1, 7), {"unknown_id": 1, "row_count": 1}, "user_id None"),
    "a gap in the ranks": (_swap_ranks, {"ranks": 1}, "user_id 1"),
    "ranks from 2": (_shift_ranks, {"ranks": 1}, "user_id 2"),
    "a rank twice": (_set(2, 3, rank=2), {"ranks": 1}, "user_id 2"),
    "ranks from 0": (_set(2, 1, rank=0), {"ranks": 1}, "user_id 2"),
    "no rank": (_set(1, 2, rank=None), {"ranks": 1}, "user_id 1"),
    "a movie twice": (_set(40, 2, movie_id=7), {"repeated_item": 1}, "user_id 40"),
    "a seen movie": (_set(1, 2, movie_id=7), {"seen_item": 1}, "user_id 1"),
    "an unknown movie": (_set(1, 2, movie_id=77), {"unknown_item": 1}, "user_id 1"),
    "no movie": (_set(1, 2, movie_id=None), {"unknown_item": 1}, "user_id 1"),
    "NaN": (_set(1, 1, score=math.nan), {"not_finite": 1}, "user_id 1"),
    "infinity": (_set(1, 1, score=math.inf), {"not_finite": 1}, "user_id 1"),
    "minus infinity": (_set(1, 3, score=-math.inf), {"not_finite": 1}, "user_id 1"),
    "no score": (_set(1, 2, score=None), {"not_finite": 1}, "user_id 1"),
    "a later score is higher": (_set(3, 2, score=1.1), {"score_order": 1}, "user_id 3"),
    "another night": (_set(2, 1, ds="2026-01-01"), {"ds": 1}, "user_id 2"),
    "no night": (_set(2, 1, ds=None), {"ds": 1}, "user_id 2"),
    "another model": (_set_all(model_id="transe-2"), {"model_id": 4}, "user_id 1"),
    "two models": (_set(3, 1, model_id="transe-2"), {"model_id": 1}, "user_id 3"),
    "no model": (_set(3, 1, model_id=None), {"model_id": 1}, "user_id 3"),
    "an unknown source": (_set(40, 3, source="guess"), {"source": 1}, "user_id 40"),
    "no source": (_set(40, 3, source=None), {"source": 1}, "user_id 40"),
    "a popular movie before one of the model": (_set(2, 2, source="popular"), {"source_order": 1}, "user_id 2"),
    "popular among all before popular in the segment": (
        lambda rows: _set(1, 2, source="popular")(_set(1, 3, source="popular_in_segment")(rows)),
        {"source_order": 1},
        "user_id 1",
    ),
    "no reason though there are likes": (_set(1, 3, reason_movie_id=None), {"reason": 1}, "user_id 1"),
    "a reason without a like": (_set(40, 1, reason_movie_id=7), {"reason": 1}, "user_id 40"),
    "a reason that is rated, not liked": (_set(3, 1, reason_movie_id=9), {"reason": 1}, "user_id 3"),
    "a reason of another user": (_set(1, 1, reason_movie_id=8), {"reason": 1}, "user_id 1"),
    "an unknown reason": (_set(1, 1, reason_movie_id=77), {"reason": 1}, "user_id 1"),
    "all scores of a list are equal": (_set(3, 2, score=1.0), {"constant_lists": 0.25}, "1 of 4 lists"),
    "most rows fall back": (_set_all(source="average"), {"fallback_rows": 1.0}, "11 of 11 rows"),
    "no table": (lambda rows: [], {"incomplete": 4, "row_count": 11}, "user_id 1"),
}


@pytest.fixture(scope="module")
def of_broken(spark: Any, beside: Beside) -> dict[str, dict[str, Finding]]:
    """The findings of every broken table."""
    tables = [_lists(change(_table())) for change, _, _ in BROKEN.values()]
    return dict(zip(BROKEN, _findings(spark, tables, beside), strict=True))


@pytest.mark.parametrize("name", BROKEN)
def test_each_check_fires_on_what_it_is_for_and_on_nothing_else(of_broken: Any, name: str) -> None:
    _, failures, example = BROKEN[name]
    assert _failed(of_broken[name]) == failures
    failed = [finding for finding in of_broken[name].values() if finding.status == "failed"]
    assert failed[0].example == example
    assert failed[0].blocks == (failed[0].check != "fallback_rows")
    assert failed[0].warns != failed[0].blocks


def test_every_check_has_a_table_that_breaks_it() -> None:
    elsewhere = {"not_offered", "coverage", "concentration", "list_churn", "id_churn", "model_scores", "top_k"}
    broken = {name for _, failures, _ in BROKEN.values() for name in failures}
    assert broken | elsewhere == CHECKS


def test_tables_in_one_pass_are_kept_apart(spark: Any, beside: Beside) -> None:
    seen = _audiences()
    next(row for row in seen if row["movie_id"] == 9)["user_id"] = 3
    nan = _set(1, 1, score=math.nan)(_table())
    given = [_lists(nan), _of_movies(_audiences()), _of_movies(seen), _lists(_table())]
    found = _findings(spark, given, beside)
    assert [_blocking(of_table) for of_table in found] == [{"not_finite": 1}, {}, {"seen_item": 1}, {}]
    assert found[1]["row_count"].example == "10 rows, 10 expected"
    assert found[2]["seen_item"].example == "movie_id 9"


def test_churn_against_the_last_published_night(spark: Any, beside: Beside) -> None:
    # Yesterday user 1 had two of the same three movies; users 2 and 3 had all; 40 was not there, and 50 is gone.
    before = _add(50, 1, 7)(_drop(40, 1, 2, 3)(_set(1, 3, movie_id=11)(_table())))
    others = [row | {"movie_id": row["movie_id"] + 100} for row in _table()]
    some, all_new, first = _findings(
        spark, [_lists(_table(), before), _lists(_table(), others), _lists(_table())], beside
    )
    assert some["list_churn"].value == pytest.approx((1 / 3 + 0 + 0) / 3)
    assert some["list_churn"].example == "3 lists compared"
    assert some["id_churn"].value == 2 / 4
    assert some["id_churn"].example == "1 gone, 1 new"
    assert _failed(some) == {"id_churn": 0.5}
    assert some["id_churn"].warns
    assert _failed(all_new) == {"list_churn": 1.0}
    assert (first["list_churn"].status, first["list_churn"].example) == ("not measured", "")


OWN = {
    "no_old_movies": {"where": "movie_id < 9", "bound": 0.5},
    "high_scores": {"where": "score > 0.9", "bound": 0.1, "severity": "warn"},
    "no_first_users": {"where": "user_id = 1 AND rank = 1", "table": "audiences"},
    "not_now": {"where": "true", "severity": "off"},
}


def test_the_users_own_checks_and_bounds(spark: Any, beside: Beside) -> None:
    wrong = _set(1, 2, movie_id=7)(_drop(40, 1, 2, 3)(_table()))
    narrow = [row for row in _table() if row["rank"] == 1]
    changed = {
        "seen_item": {"severity": "warn"},
        "incomplete": {"bound": 1},
        "row_count": {"severity": False},
        "coverage": {"bound": 0.9},
        "concentration": {"severity": "block"},
    }
    given = [_lists(_table()), _of_movies(_audiences()), _lists(wrong), _lists(narrow)]
    lists, audiences, of_wrong, of_narrow = _findings(spark, given, beside, own=OWN, checks=changed)
    assert _failed(lists) == {"high_scores": pytest.approx(5 / 11)}
    assert lists["high_scores"].warns
    assert lists["no_old_movies"].value == pytest.approx(4 / 11)
    assert lists["no_old_movies"].example == "4 of 11 rows"
    assert "not_now" not in lists
    assert _blocking(audiences) == {"no_first_users": 0.4, "concentration": 0.8}
    assert of_wrong["seen_item"].warns
    assert of_wrong["incomplete"].value == 1
    assert not {"incomplete", "row_count"} & set(_failed(of_wrong))
    assert of_narrow["coverage"].value == 3 / 4  # 7, 8 and 10 in four rows
    assert of_narrow["coverage"].warns


def test_an_own_condition_that_cannot_be_read_names_its_key(spark: Any, beside: Beside) -> None:
    with pytest.raises(ConfigError, match=r"^audit\.own\.x\.where: .*`stars`.* cannot be resolved.*; the table has"):
        _findings(spark, [_lists(_table())], beside, own={"x": {"where": "stars > 1"}})


def test_the_share_of_the_top() -> None:
    assert top_share([(5, 1), (3, 2), (1, 4)], 2) == 8 / 15
    assert top_share([(5, 1), (0, 100)], 50) == 1.0
    assert top_share([], 3) is None
    assert top_share([(0, 4)], 1) is None


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
        {"user_id": user, "rank": rank, "movie_id": movie, "score": 1.0 / rank, "reason_movie_id": REASONS.get(user)}
        | _constants()
        for user, movies in OFFERED.items()
        for rank, movie in enumerate(movies, 1)
    ]


REASONS = {1: 7, 3: 8}


@pytest.fixture(scope="module")
def restricted(beside: Beside, candidates: Candidates) -> Beside:
    return replace(beside, candidates=candidates)


def test_lists_are_as_long_as_what_is_offered(spark: Any, restricted: Beside) -> None:
    users = {7: [2], 8: [1], 9: [1], 11: [3]}
    audiences = [
        {"user_id": user, "rank": rank, "movie_id": movie, "score": 1.0} | _constants()
        for movie, found in users.items()
        for rank, user in enumerate(found, 1)
    ]
    changes: list[Change] = [lambda rows: rows, _drop(2, 1), _set(3, 1, movie_id=10), _add(40, 1, 7)]
    lists = [_lists(change(_offered_table())) for change in changes]
    # Audiences are counted over all segments.
    found = _findings(spark, [*lists, _of_movies(audiences), _of_movies(audiences[1:])], restricted)
    assert [_blocking(of_table) for of_table in found] == [
        {},
        {"incomplete": 1, "row_count": 1},
        {"not_offered": 1},
        {"not_offered": 1, "incomplete": 1, "row_count": 1},
        {},
        {"incomplete": 1, "row_count": 1},
    ]
    assert found[0]["coverage"].example == "4 of 4"


# A check of each level, and the change that breaks it.
TOYS = [
    (Check("toy_row", "scores are small", "score", "row", "score > 10"), _set(2, 1, score=11.0)),
    (Check("toy_step", "steps are small", "score", "step", "previous_score > 10"), _set(2, 1, score=11.0)),
    (Check("toy_item", "no movie 77", "", "item", "item = 77"), _set(2, 3, movie_id=77)),
    (Check("toy_query", "lists are short", "", "query", "listed > 3"), _add(2, 4, 11)),
    (
        Check("toy_table", "no long list", "", "table", "count_if(listed > 3)", example="'user_id 2'"),
        _add(2, 4, 11),
    ),
]


def test_a_new_check_is_one_entry_of_the_table(spark: Any, beside: Beside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "CHECKS", (*checks.CHECKS, *(check for check, _ in TOYS)))
    right, *wrong = _findings(spark, [_lists(_table()), *(_lists(change(_table())) for _, change in TOYS)], beside)
    for (check, _), found in zip(TOYS, wrong, strict=True):
        assert right[check.name].status == "passed"
        toy = found[check.name]
        assert (toy.value, toy.example, toy.blocks) == (1, "user_id 2", True)


def test_whole_tables_are_audited_as_their_rows(spark: Any, beside: Beside) -> None:
    """`audit_lists`, which the night calls, with frames of its own for each table."""
    tables = []
    for name, rows, before in (("recommendations", _table(), _table()), ("audiences", _audiences(), None)):
        now, then = (None if some is None else _frame(spark, name, {0: some}).drop("case") for some in (rows, before))
        tables.append(RankedTable(name, now, *DIRECTIONS[name], then))
    lists, audiences = ({f.check: f for f in found} for found in audit_lists(tables, NIGHT, beside, AuditSettings()))
    assert _blocking(lists) == _blocking(audiences) == {}
    assert (lists["list_churn"].value, audiences["list_churn"].value) == (0.0, None)
