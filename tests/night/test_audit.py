"""The audit of a real small night, and of tables that were altered after it."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgspark.errors import AuditError
from kgspark.night.checks.audit import audit_night
from kgspark.search_space import SearchSpace, pairwise_scores, read_ids
from kgspark.spark.ranking.audit.findings import Finding
from kgspark.stages import publish, recommend, train_embeddings
from kgspark.warehouse.folder import FolderWarehouse
from nights import DATE, a_small_night, describe_again

TABLES = ("recommendations", "audiences")


@pytest.fixture
def source(small_night: Path) -> Path:
    return small_night / "source"


@pytest.fixture
def copy(small_night: Path, tmp_path: Path) -> Path:
    """A copy of the lake, which a test may alter."""
    shutil.copytree(small_night / "lake", tmp_path / "lake")
    return tmp_path / "lake"


def _alter(lake: Path, table: str, change: Callable[[pa.Table], pa.Table]) -> None:
    folder = lake / "runs" / DATE / table
    (path,) = folder.glob("part-*.parquet")
    rows = pq.read_table(path, partitioning=None)
    pq.write_table(change(rows).cast(rows.schema), path)
    describe_again(folder)


def _failed(findings: list[Finding]) -> dict[tuple[str, str], float | None]:
    return {(f.table, f.check): f.value for f in findings if f.status == "failed" and f.severity == "block"}


def _with(rows: pa.Table, **columns: pa.ChunkedArray | pa.Array) -> pa.Table:
    for name, values in columns.items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, values)
    return rows


def test_a_right_night_passes_and_its_scores_are_the_models(spark: Any, small_night: Path, source: Path) -> None:
    found = audit_night(a_small_night(source, small_night / "lake", spark), TABLES)
    assert _failed(found) == {}
    compared = {finding.table: finding for finding in found if finding.check == "model_scores"}
    assert compared["recommendations"].example == "180 rows of 36 users compared"
    assert compared["audiences"].value == 0


def _by_the_vector_of_the_next_user(lake: Path) -> Callable[[pa.Table], pa.Table]:
    """Every user's list by the query vector of the next user, as if the vectors lay under another numbering.

    From outside everything is right: movies that the user has not rated, by falling scores.
    """
    folder = lake / "runs" / DATE
    space = SearchSpace.load(folder / "search_space")
    users, movies = (read_ids(folder / "search_space", *side).to_pylist() for side in (("queries", 36), ("items", 18)))
    rated = pq.read_table(folder / "ratings", columns=["user_id", "movie_id"], partitioning=None).to_pylist()
    seen = {(row["user_id"], row["movie_id"]) for row in rated}

    def change(rows: pa.Table) -> pa.Table:
        listed, scores = [], []
        for position, user in enumerate(users):
            next_user = np.full(len(movies), (position + 1) % len(users))
            of_all = pairwise_scores(space, next_user, np.arange(len(movies))).astype(np.float32)
            unseen = [i for i in np.argsort(-of_all, kind="stable") if (user, movies[i]) not in seen][:5]
            listed += [movies[i] for i in unseen]
            scores += of_all[unseen].tolist()
        return _with(rows, movie_id=pa.array(listed), score=pa.array(scores))

    return change


def test_lists_of_another_user_are_found(spark: Any, source: Path, copy: Path) -> None:
    _alter(copy, "recommendations", _by_the_vector_of_the_next_user(copy))
    found = audit_night(a_small_night(source, copy, spark), TABLES)
    failed = _failed(found)
    assert set(failed) == {("recommendations", "model_scores"), ("recommendations", "top_k")}
    assert failed["recommendations", "model_scores"] == 180
    finding = next(f for f in found if f.blocks)
    assert re.match(
        r"user_id \d+, movie_id \d+ has -\d\.\d+, the model gives -\d\.\d+; 180 rows of 36 users compared",
        finding.example,
    )


def _unseen_in_place_of_the_last(lake: Path, right_score: bool) -> Callable[[pa.Table], pa.Table]:
    """The first list with its last movie replaced by the worst one that the user has not seen.

    right_score  with the score that the model gives to that movie; else with the score of the movie that was there
    """
    folder = lake / "runs" / DATE
    space = SearchSpace.load(folder / "search_space")
    users, movies = (read_ids(folder / "search_space", side).to_pylist() for side in ("queries", "items"))
    rated = pq.read_table(folder / "ratings", columns=["user_id", "movie_id"], partitioning=None).to_pylist()

    def change(rows: pa.Table) -> pa.Table:
        listed, scores = rows["movie_id"].to_pylist(), rows["score"].to_pylist()
        user = rows["user_id"][4].as_py()
        assert rows["user_id"].to_pylist()[:6].count(user) == 5
        seen = {row["movie_id"] for row in rated if row["user_id"] == user}
        own = pairwise_scores(space, np.full(len(movies), users.index(user)), np.arange(len(movies)))
        worst = next(i for i in np.argsort(own) if movies[i] not in seen)
        assert own[worst] < scores[4]
        listed[4] = movies[worst]
        scores[4] = own[worst] if right_score else scores[4]
        return _with(rows, movie_id=pa.array(listed), score=pa.array(scores))

    return change


def test_an_unseen_movie_in_place_of_the_last_one_is_found(spark: Any, source: Path, copy: Path) -> None:
    original = copy / "runs" / DATE / "recommendations"
    shutil.copytree(original, copy / "right")
    _alter(copy, "recommendations", _unseen_in_place_of_the_last(copy, right_score=False))
    found = _failed(audit_night(a_small_night(source, copy, spark), TABLES))
    assert found["recommendations", "model_scores"] == 1
    shutil.rmtree(original)
    (copy / "right").rename(original)
    _alter(copy, "recommendations", _unseen_in_place_of_the_last(copy, right_score=True))
    findings = audit_night(a_small_night(source, copy, spark), TABLES)
    found = _failed(findings)
    assert set(found) == {("recommendations", "top_k")}
    # The list lacks all movies that the user has not seen, but the first four and the worst one.
    assert found["recommendations", "top_k"] == 18 - 5 - 5
    (finding,) = (f for f in findings if f.blocks)
    assert re.fullmatch(
        r"user_id \d+ lacks movie_id \d+ with -\d\.\d+, and the last one listed has -\d\.\d+; "
        "36 lists compared with 18 movies",
        finding.example,
    )


@pytest.mark.extended
def test_a_movie_that_is_not_offered_may_be_better_than_the_last_one(spark: Any, source: Path, copy: Path) -> None:
    candidates = {"where": "movie_id % 2 = 0"}
    night = a_small_night(source, copy, spark, candidates=candidates, audiences={"enabled": False})
    recommend.run(night)
    found = audit_night(night, TABLES[:1])
    assert _failed(found) == {}
    assert next(f for f in found if f.check == "top_k").value == 0
    # Without the tables that restrict, these lists lack the movies of other ids.
    everything = a_small_night(source, copy, spark, audiences={"enabled": False})
    failed = _failed(audit_night(everything, TABLES[:1]))
    assert failed["recommendations", "top_k"] > 36


@pytest.mark.extended
def test_scores_with_the_latest_likes_and_a_trend_are_computed_again(spark: Any, source: Path, copy: Path) -> None:
    # Without a refit, queries lean towards the likes of the training alone.
    night = a_small_night(source, copy, spark, audiences={"enabled": False})
    # The network reads the weights and the times of the likes, too.
    network = {"encoder": "network", "network": {"blocks": 1, "epochs": 1}}
    export = {"recent_share": 0.5, "trend_weight": 2, "trend_half_life": 7}
    train = night.settings.train.changed({"export": export, "refit": "none", "history": network})
    night = night.variant(night.settings.model_copy(update={"train": train}))
    for stage in (train_embeddings, recommend):
        stage.run(night)
    found = audit_night(night, TABLES[:1])
    assert _failed(found) == {}
    assert next(f for f in found if f.check == "model_scores").example == "180 rows of 36 users compared"
    _alter(copy, "recommendations", _by_the_vector_of_the_next_user(copy))
    failed = _failed(audit_night(night, TABLES[:1]))
    assert set(failed) == {("recommendations", "model_scores"), ("recommendations", "top_k")}


def test_what_blocks_publishes_nothing_and_is_told_in_a_table(spark: Any, source: Path, copy: Path) -> None:
    _alter(copy, "audiences", lambda rows: _with(rows, ds=pa.array(["2026-01-01"] * len(rows))))
    shutil.rmtree(copy / "runs" / DATE / "published")
    shutil.rmtree(copy / "warehouse")
    with pytest.raises(AuditError) as error:
        publish.run(a_small_night(source, copy, spark))
    assert (
        'audiences: nothing is published, 1 audit checks fail; first: "ds is the night\'s" (ds): 18 of the lists'
        in str(error.value)
    )
    assert not (copy / "warehouse").exists()
    path = Path(str(error.value).rpartition(" in ")[2])
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [
        (row["table"], row["check"]) for row in rows if row["status"] == "failed" and row["severity"] == "block"
    ] == [("audiences", "ds")]
    assert {"check", "table", "column", "value", "bound", "severity", "status", "example"} <= set(rows[0])


def test_another_schema_stops_before_any_query(spark: Any, source: Path, copy: Path) -> None:
    for path in (copy / "runs" / DATE / "recommendations").glob("part-*.parquet"):
        rows = pq.read_table(path, partitioning=None)
        pq.write_table(_with(rows, rank=rows["rank"].cast(pa.string())), path)
    found = audit_night(a_small_night(source, copy), TABLES)  # without Spark
    assert [(f.table, f.column, f.status) for f in found] == [
        ("recommendations", "rank", "failed"),
        ("audiences", "", "passed"),
    ]


def test_a_warning_is_a_line_and_the_tables_are_published(spark: Any, source: Path, copy: Path) -> None:
    warehouse, said = FolderWarehouse.of(copy), list[str]()
    # As if the clock had been ahead in one night.
    ahead = replace(warehouse.latest(), date="2030-01-01", id="2030-01-01-0123456789ab")
    warehouse.version(ahead).mkdir()
    ahead.write(warehouse.description(ahead))
    ahead.write(warehouse.pointer)
    own = {"few_high_ranks": {"where": "rank = 1", "bound": 0.1, "severity": "warn"}}
    publish.run(a_small_night(source, copy, spark, said.append, audit={"own": own}))
    assert " ".join(said[0].split()) == (
        "warn recommendations: 'no row with rank = 1' (few_high_ranks): 0.2 of the rows are bad, "
        "at most 0.1 allowed (36 of 180 rows)"
    )
    assert "1 warned" in said[-1]
    assert said[-1].endswith("; _latest.json stays at the newer date 2030-01-01")
    table = (copy / "runs" / DATE / "published" / "audit.jsonl").read_text(encoding="utf-8")
    assert '"check": "few_high_ranks"' in table


def test_churn_is_against_the_night_before_in_the_warehouse(spark: Any, source: Path, copy: Path) -> None:
    for name, date in (
        ("recommendations", "2026-01-01"),
        ("recommendations", "2025-12-31"),
        ("audiences", "2026-01-03"),
    ):
        shutil.copytree(copy / "warehouse" / name / f"ds={DATE}", copy / "warehouse" / name / f"ds={date}")
    (path,) = (copy / "warehouse" / "recommendations" / "ds=2026-01-01").glob("part-*.parquet")
    rows = pq.read_table(path, partitioning=None)
    path.unlink()
    pq.write_table(rows.slice(5), path)  # without the first user
    found = audit_night(a_small_night(source, copy, spark), TABLES)
    values = {(f.table, f.check): f.value for f in found if f.check.endswith("churn")}
    assert values == {
        ("recommendations", "list_churn"): 0.0,
        ("recommendations", "id_churn"): pytest.approx(1 / 35),
        ("audiences", "list_churn"): None,
        ("audiences", "id_churn"): None,
    }
    path.write_bytes(b"PAR1 not any more")
    found = audit_night(a_small_night(source, copy, spark), TABLES)
    assert {f.value for f in found if f.check.endswith("churn")} == {None}
    assert _failed(found) == {}
