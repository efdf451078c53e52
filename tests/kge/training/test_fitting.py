"""What is left to the graph's size: sampled tails for wide catalogues, and figures of some of many users."""

import numpy as np
import pytest

from kgspark.graph.layout import EntityLayout
from kgspark.graph.shards import Csr
from kgspark.kge.settings import TrainSettings
from kgspark.kge.training import memory
from kgspark.kge.training.fitting import fitted
from kgspark.tables import Relation

LIKED = [Relation(0, "liked", "user", "movie")]


def layout(movies: int, users: int = 1000) -> EntityLayout:
    return EntityLayout.from_counts([("user", users), ("movie", movies)])


@pytest.mark.parametrize(("movies", "sampled"), [(3_883, 0), (32_768, 0), (32_769, 8192), (87_000, 8192)])
def test_many_tails_are_sampled(movies: int, sampled: int) -> None:
    settings = TrainSettings(device="cpu")
    assert settings.negatives == "auto"
    assert fitted(settings, layout(movies), LIKED, 10**6).negatives == sampled


def test_tails_are_sampled_where_memory_does_not_hold_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = TrainSettings(device="cpu", batch_size=4096)
    small, likes = layout(30_000), 10**5
    needed = memory.estimate(settings.model_copy(update={"negatives": 0}), small, LIKED, likes).host_bytes
    monkeypatch.setattr(memory, "free_host_bytes", lambda: needed)
    assert fitted(settings, small, LIKED, likes).negatives == 0
    monkeypatch.setattr(memory, "free_host_bytes", lambda: needed - 1)
    assert fitted(settings, small, LIKED, likes).negatives == 7500


def test_a_number_stays_and_the_other_objectives_have_their_own() -> None:
    for given in (0, 100):
        assert fitted(TrainSettings(negatives=given), layout(10**6), LIKED, 10**6).negatives == given
    assert TrainSettings(objective="warp", negatives="auto").negatives == 16
    assert TrainSettings(objective="margin").negatives == 1


def test_some_users_keep_their_likes_and_the_others_none() -> None:
    counts = np.random.default_rng(1).integers(0, 4, 500)
    indptr = np.concatenate([[0], counts.cumsum()])
    tails = np.arange(indptr[-1])
    whole = Csr(indptr, tails, np.ones(len(tails), np.float32), tails * 2)
    some = whole.of_some(40)
    kept = np.diff(some.indptr)
    assert len(kept) == 500
    chosen = np.flatnonzero(kept)
    assert len(chosen) == 40
    assert (kept[chosen] == counts[chosen]).all()
    assert some.tails.tolist() == whole.rows(chosen).tails.tolist()
    assert some.times.tolist() == (some.tails * 2).tolist()
    spread = np.searchsorted(np.flatnonzero(counts), chosen)
    assert np.diff(spread).max() - np.diff(spread).min() <= 1
    assert whole.of_some(0) is whole.of_some(500) is whole
