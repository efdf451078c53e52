from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kgspark.spark.graph.settings import SplitSettings
from kgspark.spark.graph.splits import collect_boundary, with_age, with_split

LIKED = "rating >= 4.0"
DAY = 86_400


def _ratings(seed: int = 3, users: int = 120, movies: int = 90, pairs: int = 4_000) -> pd.DataFrame:
    """Ratings with many ties: whole days, and whole seconds inside the boundary's day."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"user_id": rng.zipf(1.4, pairs) % users, "movie_id": rng.integers(0, movies, pairs)})
    table = table.drop_duplicates(ignore_index=True)
    table["rating"] = rng.integers(1, 11, len(table)) / 2
    eighths, seconds = rng.integers(0, 40, len(table)), rng.integers(0, 5, len(table))
    table["timestamp"] = 10**9 // DAY * DAY + eighths * DAY // 8 + seconds
    return table


def _split(spark: Any, ratings: pd.DataFrame, partitions: int = 2, **settings: Any) -> pd.DataFrame:
    frame = spark.createDataFrame(ratings).repartition(partitions)
    split = with_split(frame, SplitSettings(**settings), LIKED)
    assert split.columns == [*ratings.columns, "split"]
    table = split.toPandas().sort_values(["user_id", "movie_id"], ignore_index=True)
    assert len(table) == len(ratings)
    return table


def _likes(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["rating"] >= 4.0]


@pytest.mark.parametrize(
    "protocol", ["random", "leave-one-out", "per-user", "time", "cold-users", "cold-movies", "none"]
)
def test_the_split_is_the_same_for_any_partitions_and_order_of_rows(spark: Any, protocol: str) -> None:
    ratings = _ratings()
    one = _split(spark, ratings, protocol=protocol)
    shuffled = ratings.sample(frac=1, random_state=5)
    pd.testing.assert_frame_equal(_split(spark, shuffled, 7, protocol=protocol), one)
    assert set(one["split"]) == ({"train"} if protocol == "none" else {"train", "valid", "test"})


def test_random_gives_the_shares_and_depends_on_pair_and_seed_alone(spark: Any) -> None:
    rng = np.random.default_rng(0)
    pairs = pd.DataFrame({"user_id": np.repeat(np.arange(400), 100), "movie_id": np.tile(np.arange(100), 400)})
    pairs["rating"], pairs["timestamp"] = 5.0, rng.integers(0, 10**9, len(pairs))
    table = _split(spark, pairs, protocol="random", test=0.15, valid=0.05)
    shares = table["split"].value_counts(normalize=True)
    # Binomial: four standard deviations of 40,000 draws.
    for name, share in (("test", 0.15), ("valid", 0.85 * 0.05)):
        assert abs(shares[name] - share) < 4 * (share * (1 - share) / len(table)) ** 0.5
    of_users = table[table["split"] == "test"].groupby("user_id").size()
    assert of_users.std() == pytest.approx((100 * 0.15 * 0.85) ** 0.5, rel=0.2)

    part = pairs.sample(frac=0.3, random_state=1).assign(rating=1.0, timestamp=5)
    again = _split(spark, part, protocol="random", test=0.15, valid=0.05)
    both = again.merge(table, on=["user_id", "movie_id"])
    assert (both["split_x"] == both["split_y"]).all()

    other = _split(spark, pairs, protocol="random", test=0.15, valid=0.05, seed=43)
    held = (table["split"] == "test") & (other["split"] == "test")
    assert held.mean() == pytest.approx(0.15**2, abs=0.005)


def test_random_holds_nothing_out_where_the_shares_are_zero(spark: Any) -> None:
    assert set(_split(spark, _ratings(), protocol="random", test=0, valid=0)["split"]) == {"train"}


def test_leave_one_out_takes_the_latest_like_and_then_the_one_before(spark: Any) -> None:
    ratings = _ratings()
    table = _split(spark, ratings, protocol="leave-one-out")
    for _, own in table.groupby("user_id"):
        likes = _likes(own).sort_values(["timestamp", "movie_id"], ascending=False)
        expected = ["test", "valid"] if len(likes) >= 3 else []
        assert likes["split"].tolist() == expected + ["train"] * (len(likes) - len(expected))
    assert (table.loc[table["rating"] < 4.0, "split"] == "train").all()
    assert (_likes(table).groupby("user_id").size() < 3).any(), "no user with few likes, so that was not tested"


def test_per_user_holds_out_a_tenth_of_each_users_likes(spark: Any) -> None:
    table = _split(spark, _ratings(), protocol="per-user")
    for _, own in table.groupby("user_id"):
        likes = _likes(own)
        tenth = len(likes) // 10
        assert Counter(likes["split"]) == +Counter(test=tenth, valid=tenth, train=len(likes) - 2 * tenth)
    assert (table.loc[table["rating"] < 4.0, "split"] == "train").all()
    assert (_likes(table).groupby("user_id").size() >= 20).any()
    other = _split(spark, _ratings(), protocol="per-user", seed=1)
    assert (other["split"] != table["split"]).any()


def _latest_of_share(times: pd.Series, share: float) -> int:
    """The latest second s such that at least this fraction of the rows is at s or later, by trying every second."""
    if times.empty or not share:
        return 2**40
    return max(second for second in times if (times >= second).sum() >= share * len(times))


@pytest.mark.parametrize(("test", "valid"), [(0.15, 0.05), (0.5, 0.0), (0.0, 0.3), (0.003, 0.8)])
def test_time_equals_a_reference_with_ties(spark: Any, test: float, valid: float) -> None:
    ratings = _ratings(pairs=700)
    table = _split(spark, ratings, protocol="time", test=test, valid=valid)
    likes = _likes(table)
    test_from = _latest_of_share(likes["timestamp"], test)
    earlier = likes.loc[likes["timestamp"] < test_from, "timestamp"]
    valid_from = _latest_of_share(earlier, valid)
    # Later ratings that are not likes are held out too: nothing is learned from the future.
    later = [table["timestamp"] >= test_from, table["timestamp"] >= valid_from]
    expected = np.select(later, ["test", "valid"], "train")
    assert table["split"].tolist() == expected.tolist()
    assert (likes["split"] == "test").sum() >= test * len(likes)
    assert likes["timestamp"].duplicated().any()


def test_the_boundary_of_time_at_its_edges(spark: Any) -> None:
    def boundary(times: list[int], share: float) -> int:
        return collect_boundary(spark.createDataFrame(pd.DataFrame({"timestamp": times})), share)

    assert boundary([5], 0.01) == 5
    assert boundary([5, 5, 5, 5], 0.5) == 5  # all are tied: none is later than the others
    assert boundary([1, 2, 3, 4], 0.5) == 3
    assert boundary([1, 2, 3, 4], 0.51) == 2
    assert boundary([0, DAY - 1, DAY, 2 * DAY], 0.5) == DAY
    assert boundary([0, DAY - 1, DAY, 2 * DAY], 0.75) == DAY - 1
    assert boundary([0, DAY - 1, DAY, 2 * DAY], 0.0) == 3 * DAY
    assert boundary([3] * 85 + [4] * 15, 0.15) == 4


def test_pairs_of_string_ids_are_split_too(spark: Any) -> None:
    ratings = _ratings().astype({"user_id": str, "movie_id": str})
    for protocol in ("random", "leave-one-out"):
        table = _split(spark, ratings, protocol=protocol)
        assert set(table["split"]) == {"train", "valid", "test"}


def test_cold_users_keep_what_they_did_not_like_and_cold_movies_keep_nothing(spark: Any) -> None:
    rng = np.random.default_rng(1)
    pairs = pd.DataFrame({"user_id": np.repeat(np.arange(300), 20), "movie_id": rng.permutation(6000) % 250})
    pairs = pairs.drop_duplicates(ignore_index=True)
    pairs["rating"], pairs["timestamp"] = np.where(rng.random(len(pairs)) < 0.6, 5.0, 2.0), 7
    for protocol, column in (("cold-users", "user_id"), ("cold-movies", "movie_id")):
        table = _split(spark, pairs, protocol=protocol, test=0.2, valid=0.1)
        tested = table[table["split"] == "test"]
        cold = set(tested[column])
        assert abs(len(cold) / table[column].nunique() - 0.2) < 0.08
        of_cold = table[table[column].isin(cold)]
        expected = of_cold if protocol == "cold-movies" else _likes(of_cold)
        assert len(tested) == len(expected)
        rest = table[~table[column].isin(cold)]
        assert set(rest["split"]) == {"train", "valid"}
        assert set(rest[rest["split"] == "valid"]["rating"]) == {5.0}


def test_an_age_counts_from_the_latest_training_rating_and_is_never_negative(spark: Any) -> None:
    rows = [(10 * DAY, "train"), (4 * DAY, "train"), (11 * DAY, "valid"), (90 * DAY, "test"), (0, "test")]
    aged = with_age(spark.createDataFrame(rows, "timestamp bigint, split string"))
    assert [row["age_days"] for row in aged.collect()] == [0.0, 6.0, 0.0, 0.0, 10.0]


def test_an_age_that_nobody_reads_costs_no_job(spark: Any) -> None:
    aged = with_age(spark.createDataFrame([(DAY, "train")], "timestamp bigint, split string"))
    plan = aged.select("timestamp")._jdf.queryExecution().optimizedPlan().toString()
    assert "scalar-subquery" not in plan
    assert "Aggregate" not in plan
