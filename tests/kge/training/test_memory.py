"""The memory is estimated before a training; large catalogues are sampled, and too little memory is refused."""

import pytest

from kgspark.errors import StageError
from kgspark.graph.layout import EntityLayout
from kgspark.graph.relation import Relation
from kgspark.kge.settings import TrainSettings
from kgspark.kge.training import memory
from kgspark.kge.training.training import train
from worlds.graphs import RELATIONS, block_world, settings

LIKED = [Relation(0, "liked", "user", "movie")]
HUGE = EntityLayout.from_counts([("user", 10**9), ("movie", 10**6), ("genre", 20)])


def test_estimate_grows_with_the_settings_and_reads_well():
    small, large = (memory.estimate(settings(dim=dim), HUGE, RELATIONS, 10) for dim in (8, 16))
    assert small.host_bytes < large.host_bytes
    assert "weights" in str(small)
    assert "\n" not in str(small)


def test_the_network_needs_more_than_sums_and_more_blocks_need_more():
    chosen = [
        {"encoder": "latest"},
        {"encoder": "sums"},
        *({"encoder": "network", "network": {"blocks": n}} for n in (1, 4)),
    ]
    needed = [memory.estimate(settings(dim=64, history=history), HUGE, RELATIONS, 10).host_bytes for history in chosen]
    assert needed == sorted(set(needed))


def test_too_little_memory_is_one_clear_line():
    with pytest.raises(StageError, match=r"training needs about .* GiB .* are free; lower train\.dim") as error:
        memory.check(memory.estimate(settings(dim=4096), HUGE, RELATIONS, 10**9))
    assert "\n" not in str(error.value)


def test_training_checks_before_it_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "free_host_bytes", lambda: 2**20)
    with pytest.raises(StageError, match="1 MiB are free"):
        train(block_world(), settings(), tmp_path)
    assert not list(tmp_path.iterdir())


def layout(movies: int, users: int = 1000) -> EntityLayout:
    return EntityLayout.from_counts([("user", users), ("movie", movies)])


@pytest.mark.parametrize(("movies", "sampled"), [(3_883, 0), (32_768, 0), (32_769, 8192), (87_000, 8192)])
def test_many_tails_are_sampled(movies: int, sampled: int) -> None:
    settings = TrainSettings(device="cpu")
    assert settings.negatives == "auto"
    assert memory.resolve_negatives(settings, layout(movies), LIKED, 10**6).negatives == sampled


def test_tails_are_sampled_where_memory_does_not_hold_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = TrainSettings(device="cpu", batch_size=4096)
    small, likes = layout(30_000), 10**5
    needed = memory.estimate(settings.model_copy(update={"negatives": 0}), small, LIKED, likes).host_bytes
    monkeypatch.setattr(memory, "free_host_bytes", lambda: needed)
    assert memory.resolve_negatives(settings, small, LIKED, likes).negatives == 0
    monkeypatch.setattr(memory, "free_host_bytes", lambda: needed - 1)
    assert memory.resolve_negatives(settings, small, LIKED, likes).negatives == 7500


def test_a_number_stays_and_the_other_objectives_have_their_own() -> None:
    for given in (0, 100):
        assert memory.resolve_negatives(TrainSettings(negatives=given), layout(10**6), LIKED, 10**6).negatives == given
    assert TrainSettings(objective="warp", negatives="auto").negatives == 16
    assert TrainSettings(objective="margin").negatives == 1
