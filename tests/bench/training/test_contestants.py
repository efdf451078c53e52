"""The contestants of `bench train` really train, and count their triples correctly. Times are not tested."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from kgspark.bench.generated import GeneratedSettings
from kgspark.bench.training.clock import speeds_in_turn
from kgspark.bench.training.kgtrainer import KGTrainerEpochs, stock_settings
from kgspark.bench.training.ours import KgsparkEpochs, Lap, first_at, generated_speed, race
from kgspark.bench.training.triples import sample_triples
from kgspark.bench.training.usage import usage_of
from kgspark.tables import TEST, TRAIN, VALID
from worlds.graphs import LIKED, MODELS, USERS, block_world, settings

TRAIN_TRIPLES = USERS * 7 + 32  # each user's likes except the withheld one, and the movies' genres
CPU = torch.device("cpu")


def stock(**changes):
    return stock_settings(settings(**changes), batch_size=32)


def weights(model):
    return torch.cat([parameter.detach().flatten().clone() for parameter in model.parameters()])


@pytest.mark.parametrize(("name", "norm"), MODELS)
def test_kgtrainer_trains_every_model(name, norm):
    runner = KGTrainerEpochs(block_world(), stock(model=name, norm=norm))
    before = weights(runner.model)
    assert runner.triples == TRAIN_TRIPLES
    assert runner.epoch() > 0
    assert not torch.equal(weights(runner.model), before)
    for _ in range(9):
        runner.epoch()
    assert len(runner.losses) == 20  # the first of a call's two epochs warms up
    assert runner.losses[-1] < runner.losses[0]


def test_filtered_negatives_are_no_known_triples():
    world = block_world()
    runner = KGTrainerEpochs(sample_triples(world, 50, seed=1), stock(), known=world)
    assert runner.triples == 50
    assert runner.epoch() > 0
    drawn = runner.sampler.sample(runner.rows, torch.Generator().manual_seed(1)).view(-1, 3)
    known = {(head, 0, tail) for head, tail in zip(world.pairs(LIKED).heads, world.pairs(LIKED).tails, strict=True)}
    assert not known & set(map(tuple, drawn.tolist()))


@pytest.mark.parametrize("objective", ["softmax", "softplus"])
def test_kgspark_epochs_train_every_triple_of_the_splits(objective):
    world, chosen = block_world(), settings(objective=objective)
    run = KgsparkEpochs(world, chosen)
    before = weights(run.state.model)
    assert run.triples == TRAIN_TRIPLES
    assert KgsparkEpochs(world, chosen, (TRAIN, VALID, TEST)).triples == len(world)
    assert run.initial_seconds > 0
    assert run.epoch() > 0
    assert not torch.equal(weights(run.state.model), before)
    while len(run.losses) < 4:
        run.epoch()
    assert run.losses[-1] < run.losses[0]


def test_both_sides_train_the_same_model_and_loss():
    chosen = stock(dim=24, model="distmult")
    assert (chosen.dim, chosen.model, chosen.objective, chosen.batch_size) == (24, "distmult", "softplus", 32)
    theirs = KGTrainerEpochs(block_world(), chosen).model
    ours = KgsparkEpochs(block_world(), chosen).state.model
    assert type(theirs) is type(ours)
    assert torch.equal(weights(theirs), weights(ours))


def test_contestants_take_turns_after_a_warm_up():
    order = []

    class Contestant:
        device, triples, losses = CPU, 5, ()

        def __init__(self, name):
            self.name = name

        def epoch(self):
            order.append(self.name)
            return float(len(order))

    speeds = speeds_in_turn({name: Contestant(name) for name in "ab"}, rounds=2)
    first, second = speeds.values()
    assert order == ["a", "b"] * 3
    assert (first.seconds, second.seconds) == ((3.0, 5.0), (4.0, 6.0))
    assert (first.triples, first.usage) == (5, None)


def test_a_sample_is_of_distinct_train_triples():
    world = block_world()
    some = sample_triples(world, 100, seed=3)
    assert len(some) == 100
    assert {split for split, _ in some.triples.parts} == {TRAIN}
    for (split, relation), pairs in some.triples.parts.items():
        every = world.triples.parts[split, relation]
        whole = set(zip(every.heads, every.tails, strict=True))
        assert len(whole & set(zip(pairs.heads, pairs.tails, strict=True))) == len(pairs)
    assert sample_triples(world, 100, seed=3).fingerprint() == some.fingerprint()
    assert sample_triples(world, 100, seed=4).fingerprint() != some.fingerprint()
    assert len(sample_triples(world, 10**6, seed=3)) == TRAIN_TRIPLES


def test_a_race_scores_every_epoch_with_its_clock_stopped():
    """The score is the fraction of users whose best unseen movie is the withheld one, which is the world's answer."""
    world, seen = block_world(), []
    liked, withheld = world.histories(LIKED), world.histories(LIKED, (VALID, TEST))
    known = np.zeros((USERS, 32), bool)
    known[liked.rows(), liked.indices] = True

    def score(space):
        distances = ((space.queries[:, None] - space.items[None]) ** 2).sum(-1)
        seen.append(space.model_id)
        return float((np.where(known, np.inf, distances).argmin(1) == withheld.indices).mean())

    laps = race(world, settings(epochs=30), (TRAIN,), score)
    assert [lap.epoch for lap in laps] == list(range(1, 31))
    assert len(set(seen)) == 30  # other vectors after every epoch
    assert all(earlier.seconds < later.seconds for earlier, later in pairwise(laps))
    assert first_at(laps, 1.0) is not None


def test_the_first_lap_at_the_target():
    laps = [Lap(1, 2.0, 0.1), Lap(2, 3.0, 0.3), Lap(3, 4.0, 0.2), Lap(4, 5.0, 0.4)]
    assert first_at(laps, 0.2) == laps[1]
    assert first_at(laps, 0.3) == laps[1]
    assert first_at(laps, 0.5) is None
    assert first_at([], 0.0) is None


@pytest.mark.parametrize("negatives", [0, 20])
def test_a_generated_graph_is_trained(negatives):
    size = GeneratedSettings(ratings=2_000, users=200, movies=100, negatives=negatives)
    found = generated_speed(size, settings(device="cpu"), rounds=2)
    assert found.triples == 2_000
    assert len(found.seconds) == 2
    assert found.usage.host_peak_bytes > 2**20
    assert found.usage.device_peak_bytes is None


def test_usage_repeats_the_work_until_enough_time_has_passed():
    calls = []
    usage_of(lambda: calls.append(1), CPU)
    assert calls == [1]
    usage_of(lambda: calls.append(1), CPU, at_least_seconds=0.02)
    assert len(calls) > 2


@pytest.mark.gpu
def test_a_gpu_tells_its_peak_memory():
    size = GeneratedSettings(ratings=2_000, users=200, movies=100, negatives=20)
    found = generated_speed(size, settings(device="cuda"), rounds=1)
    assert found.usage.device_peak_bytes > 0
