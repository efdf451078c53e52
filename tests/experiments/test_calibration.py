"""Evaluation sets, splits, baselines and metrics reproduce published results."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kgspark.graph.histories import Histories
from kgspark.night.evaluate_settings import EvaluateSettings
from kgspark.night.held_out import HeldOut, Measured, measure
from kgspark.peers import item_to_item, popularity
from kgspark.peers.baselines import Likes, fit_baseline
from kgspark.peers.settings import BprSettings, PeerSettings
from kgspark.retrieval.space_recommender import SpaceRecommender
from kgspark.search_space import SearchSpace
from kgspark.spark.evaluation_sets import find_core, read_sequences, without_cold
from kgspark.spark.graph.settings import SplitSettings
from kgspark.spark.graph.splits import with_split

pytestmark = [pytest.mark.slow, pytest.mark.extended]  # baselines and protocols change seldom

SETTINGS = EvaluateSettings(ks=(10,), resamples=0)


@pytest.fixture(scope="module")
def rated(spark: Any, ml_1m: Path) -> Any:
    schema = "user_id bigint, movie_id bigint, rating double, timestamp bigint"
    return spark.read.csv(str(ml_1m / "ratings.dat"), sep="::", schema=schema)


@pytest.fixture(scope="module")
def liked(rated: Any) -> Any:
    """Likes as in RecBole's and RePlay's benchmarks: ratings of 3 or more."""
    return rated.where("rating >= 3").persist()


def held_out(split: Any, hidden: tuple[str, ...] = ()) -> HeldOut:
    """Positions in the order of ids; the splits `hidden` are not learned."""
    table = split.select("user_id", "movie_id", "split").toPandas()
    users, user = np.unique(table["user_id"], return_inverse=True)
    movies, movie = np.unique(table["movie_id"], return_inverse=True)

    def part(names: tuple[str, ...]) -> Histories:
        chosen = table["split"].isin(names).to_numpy()
        order = np.argsort(user[chosen], kind="stable")
        counts = np.bincount(user[chosen], minlength=len(users))
        return Histories(np.concatenate([[0], counts.cumsum()]), movie[chosen][order])

    learned = tuple({"train", "valid"} - set(hidden))
    return HeldOut(part(learned), part(hidden), part(("test",)), len(movies))


def likes(data: HeldOut) -> Likes:
    return Likes(data.train, data.movies, PeerSettings(), seed=42, session=lambda: None)


def means(measured: Measured) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in measured.by_user.items()}


def test_ease_lands_on_its_published_recbole_row(liked: Any) -> None:
    """Published for one shuffle: 0.2139 / 0.4808 / 0.2865. Single splits differ by up to 0.005."""
    dense = find_core(liked, 10).persist()
    assert dense.count() == 834_449
    found = []
    for seed in (5, 6):
        data = held_out(with_split(dense, SplitSettings(protocol="per-user", seed=seed), None), hidden=("valid",))
        assert (len(data.train), data.movies) == (6_033, 3_123)
        found.append(means(measure(item_to_item.fit_ease(likes(data)), data, SETTINGS)))
    dense.unpersist()
    for name, published in (("recall@10", 0.2139), ("mrr@10", 0.4808), ("ndcg@10", 0.2865)):
        assert np.mean([row[name] for row in found]) == pytest.approx(published, abs=0.004)


def test_popularity_is_replays_to_the_digit_on_the_split_by_time(liked: Any) -> None:
    split = without_cold(with_split(liked, SplitSettings(protocol="time", test=0.2, valid=0.0), None))
    data = held_out(split)
    assert (len(data.train.indices), len(data.test.indices), len(data.test_users)) == (669_181, 86_542, 1_139)
    found = means(measure(popularity.fit(likes(data)), data, SETTINGS))
    assert round(found["ndcg@10"], 4) == 0.2437


def next_of(ratings: Any) -> HeldOut:
    """The latest rating of each user is test, the one before is validation."""
    return held_out(with_split(ratings, SplitSettings(protocol="leave-one-out"), None))


@pytest.fixture(scope="module")
def beauty(spark: Any, amazon_beauty: Path) -> HeldOut:
    return next_of(read_sequences(spark, amazon_beauty / "sequences.txt")[0])


def test_popularity_is_the_published_one_on_what_comes_next_in_amazon_beauty(beauty: HeldOut) -> None:
    """The published row, 0.0152 / 0.0068, counts the test items, too. Without them, popularity has less."""
    assert (len(beauty.train), beauty.movies, len(beauty.test_users)) == (22_363, 12_101, 22_363)
    assert len(beauty.train.indices) == 198_502 - 22_363
    leaking = replace(likes(beauty), by_user=beauty.train | beauty.test)
    found = means(measure(popularity.fit(leaking), beauty, SETTINGS))
    assert (round(found["hit@10"], 4), round(found["ndcg@10"], 4)) == (0.0152, 0.0068)
    honest = means(measure(popularity.fit(likes(beauty)), beauty, SETTINGS))
    assert 0.0055 < honest["ndcg@10"] < 0.0065


def test_bpr_lands_on_its_published_row_on_what_comes_next_in_amazon_beauty(beauty: HeldOut) -> None:
    """Published for MF-BPR: 0.0447 / 0.0227."""
    pytest.importorskip("implicit")
    bpr = BprSettings(iterations=200, learning_rate=0.1, regularization=0.02)
    fitted = fit_baseline("implicit-bpr", replace(likes(beauty), settings=PeerSettings(implicit_bpr=bpr)))
    assert isinstance(fitted, SearchSpace)
    found = means(measure(SpaceRecommender(fitted, 2), beauty, SETTINGS))
    assert found["hit@10"] == pytest.approx(0.0447, abs=0.003)
    assert found["ndcg@10"] == pytest.approx(0.0227, abs=0.0015)


def test_popularity_on_what_comes_next_in_ml_1m(rated: Any) -> None:
    """0.0178 in the order of the file's lines; in ours, movies of the same second are ordered by their ids."""
    core = find_core(rated, 5).persist()
    assert core.count() == 999_611
    data = next_of(core)
    core.unpersist()
    assert (len(data.train), data.movies, len(data.test_users)) == (6_040, 3_416, 6_040)
    found = means(measure(popularity.fit(likes(data)), data, SETTINGS))
    assert found["ndcg@10"] == pytest.approx(0.0178, abs=0.0006)
