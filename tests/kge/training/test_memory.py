"""The memory a training needs is known, and refused in one clear line where it is not there."""

import pytest

from kgspark.errors import StageError
from kgspark.graph.layout import EntityLayout
from kgspark.kge.training import memory
from kgspark.kge.training.training import train
from worlds.graphs import LAYOUT, RELATIONS, block_world, settings

HUGE = EntityLayout.from_counts([("user", 10**9), ("movie", 10**6), ("genre", 20)])


def test_estimate_grows_with_the_settings_and_reads_well():
    small, large = (memory.estimate(settings(dim=dim), HUGE, RELATIONS, 10) for dim in (8, 16))
    assert small.host_bytes < large.host_bytes
    assert "weights" in str(small)
    assert "\n" not in str(small)


def test_too_little_memory_is_one_clear_line():
    with pytest.raises(StageError, match=r"training needs about .* GiB .* are free; lower train\.dim") as error:
        memory.check(memory.estimate(settings(dim=4096), HUGE, RELATIONS, 10**9))
    assert "\n" not in str(error.value)


def test_training_checks_before_it_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "free_host_bytes", lambda: 2**20)
    with pytest.raises(StageError, match="1 MiB are free"):
        train(block_world(), LAYOUT, RELATIONS, settings(), tmp_path)
    assert not list(tmp_path.iterdir())
