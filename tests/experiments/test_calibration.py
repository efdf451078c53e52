"""Evaluation sets, splits, baselines and metrics reproduce published results."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kgspark.graph.histories import Histories
from kgspark.night.evaluate_settings import EvaluateSettings
from kgspark.night.held_out import HeldOut, Measured, measure
from kgspark.peers import item_to_item, popularity
from kgspark.peers.baselines import Likes
from kgspark.peers.settings import PeerSettings
from kgspark.spark.evaluation_sets import find_core, without_cold
from kgspark.spark.graph.settings import SplitSettings
from kgspark.spark.graph.splits import with_split

pytestmark = [pytest.mark.slow, pytest.mark.extended]  # baselines and protocols change seldom

SETTINGS = EvaluateSettings(ks=(10,), resamples=0)


@pytest.fixture(scope="module")
def liked(spark: Any, ml_1m: Path) -> Any:
    """Likes as in RecBole's and RePlay's benchmarks: ratings of 3 or more."""
    schema = "user_id bigint, movie_id bigint, rating double, timestamp bigint"
    lines = spark.read.csv(str(ml_1m / "ratings.dat"), sep="::", schema=schema)
    return lines.where("rating >= 3").persist()


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
