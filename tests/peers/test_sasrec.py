"""SASRec learns what follows what, where models without order cannot."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from kgspark.errors import StageError
from kgspark.graph.histories import Histories
from kgspark.night.evaluate_settings import EvaluateSettings
from kgspark.night.held_out import HeldOut, measure
from kgspark.peers import sasrec
from kgspark.peers.baselines import Likes, fit_baseline
from kgspark.peers.settings import PeerSettings, SasrecSettings
from kgspark.retrieval.space_recommender import SpaceRecommender
from kgspark.search_space import SearchSpace

USERS, MOVIES = 200, 16
SMALL = {
    "dim": 16,
    "blocks": 1,
    "places": 12,
    "dropout": 0.1,
    "epochs": 30,
    "patience": 30,
    "learning_rate": 0.01,
    "batch": 128,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def world() -> HeldOut:
    """Movies stand in a circle, and each user likes some in a row; the next one is held out.

    So one movie always follows another. Without order, the movies at both ends of the row are equally good.
    """
    generator = np.random.default_rng(7)
    circle = generator.permutation(MOVIES)  # positions do not tell the order
    starts, sizes = generator.integers(0, MOVIES, USERS), generator.integers(3, 9, USERS)
    rows = [circle[np.arange(start, start + size) % MOVIES] for start, size in zip(starts, sizes, strict=True)]
    train, test = _timed([row[:-1] for row in rows]), Histories.of([row[-1:] for row in rows])
    return HeldOut(train, Histories.empty(USERS), test, MOVIES)


def _timed(sequences: Any) -> Histories:
    """Histories of the sequences, as the harness has them: in order of position, with times."""
    given = Histories.of(sequences)
    times = 60 * (1 + np.arange(len(given.indices)))
    order = np.lexsort((given.indices, given.rows()))
    return Histories(given.indptr, given.indices[order], times=times[order])


def _likes(by_user: Histories, movies: int = MOVIES, seed: int = 42, **settings: Any) -> Likes:
    peers = PeerSettings.model_validate({"sasrec": SMALL | settings})
    return Likes(by_user, movies, peers, seed, session=lambda: None)


def _found_first(name: str, world: HeldOut, **settings: Any) -> float:
    """Share of users whose held-out movie is the first of their list."""
    fitted = fit_baseline(name, _likes(world.train, **settings))
    recommender = SpaceRecommender(fitted, 1) if isinstance(fitted, SearchSpace) else fitted
    measured = measure(recommender, world, EvaluateSettings(ks=(1,), resamples=0))
    return float(measured.by_user["recall@1"].mean())


@pytest.mark.parametrize("negatives", [0, 6])
def test_a_planted_order_is_learned(world: HeldOut, negatives: int) -> None:
    assert _found_first("sasrec", world, negatives=negatives) == 1.0


@pytest.mark.parametrize("name", ["popularity", "ease"])
def test_models_without_order_cannot_learn_it(world: HeldOut, name: str) -> None:
    assert _found_first(name, world) < 0.65


def test_equal_likes_and_seeds_give_equal_bytes(world: HeldOut) -> None:
    first = sasrec.fit(_likes(world.train, seed=1, epochs=2))
    torch.rand(1)  # other code may draw in between
    state = torch.get_rng_state()
    again, other = (sasrec.fit(_likes(world.train, seed=seed, epochs=2)) for seed in (1, 2))
    assert first.queries.tobytes() == again.queries.tobytes()
    assert first.items.tobytes() == again.items.tobytes()
    assert first.queries.tobytes() != other.queries.tobytes()
    assert torch.equal(torch.get_rng_state(), state)


# Here the epochs after the best one are worse with the first patience, and equal with the second.
@pytest.mark.parametrize("patience", [2, 3])
def test_training_stops_after_the_best_epoch_and_keeps_its_weights(
    world: HeldOut, monkeypatch: pytest.MonkeyPatch, patience: int
) -> None:
    figures, weights = [], []
    ndcg = sasrec._ndcg

    def record(network: sasrec.Network, *arguments: Any) -> float:
        figures.append(ndcg(network, *arguments))
        weights.append(network.vectors().copy())
        return figures[-1]

    monkeypatch.setattr(sasrec, "_ndcg", record)
    space = sasrec.fit(_likes(world.train, epochs=200, patience=patience))
    best = int(np.argmax(figures))
    assert len(figures) == best + 1 + patience
    kept = max(epoch for epoch, figure in enumerate(figures) if figure == max(figures))
    np.testing.assert_array_equal(space.items, weights[kept])


@pytest.mark.parametrize("cells", [2 * MOVIES, 1 << 23])
def test_validation_is_the_ndcg_of_the_next_movie(monkeypatch: pytest.MonkeyPatch, cells: int) -> None:
    monkeypatch.setattr(sasrec, "_CELLS", cells)
    network = sasrec.Network(MOVIES, SasrecSettings(**SMALL))
    lists = [[3, 1, 2], [5, 9], [8, 7, 6, 5], [15, 0, 1], [11, 12, 13, 14, 4]]
    known = Histories.of([movies[:-1] for movies in lists])
    gains = []
    for row, movies in enumerate(lists):
        scores = sasrec._queries(network, known, 4)[row] @ network.vectors().T
        others = np.delete(scores, movies)
        rank = 1 + (others > scores[movies[-1]]).sum()
        gains.append(1 / np.log2(rank + 1) if rank <= 10 else 0)
    assert sasrec._ndcg(network, known, Histories.of(lists), 4) == pytest.approx(np.mean(gains))


def test_only_the_latest_places_are_read() -> None:
    by_user = _timed([[5, 1, 2, 3], [9, 1, 2, 3], [1, 2, 3], [3, 2, 1]])
    queries = sasrec.fit(_likes(by_user, places=3, epochs=1)).queries
    np.testing.assert_allclose(queries[0], queries[2], atol=1e-5)
    np.testing.assert_allclose(queries[1], queries[2], atol=1e-5)
    assert np.abs(queries[3] - queries[2]).max() > 0.01


def test_an_output_depends_on_neither_later_movies_nor_padding() -> None:
    network = sasrec.Network(MOVIES, SasrecSettings(**SMALL)).eval()
    alone = network(torch.tensor([[3, 1, 2]]), torch.tensor([3]))[0]
    padded = network(torch.tensor([[3, 1, 2, 0, 0], [4, 5, 6, 7, 8]]), torch.tensor([3, 5]))[0]
    later = network(torch.tensor([[3, 1, 9]]), torch.tensor([3]))[0]
    torch.testing.assert_close(padded[:3], alone)
    torch.testing.assert_close(later[:2], alone[:2])
    assert not torch.allclose(later[2], alone[2])


def test_the_latest_movie_always_has_the_last_place() -> None:
    network = sasrec.Network(MOVIES, SasrecSettings(**SMALL)).eval()
    movies, sizes = torch.tensor([[3, 1, 0, 0], [4, 5, 6, 7]]), torch.tensor([2, 4])
    before = network(movies, sizes)
    with torch.no_grad():
        network.at_place.weight[-1] += torch.linspace(-1, 1, SMALL["dim"])
    changed = (network(movies, sizes) - before).abs().amax(2) > 0.01
    assert changed[0, :2].tolist() == [False, True]
    assert changed[1].tolist() == [False, False, False, True]


def test_the_loss_is_a_mean_over_real_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sasrec, "_has_bfloat16", lambda device: False)
    network = sasrec.Network(MOVIES, SasrecSettings(**SMALL)).eval()
    sequences = Histories.of([[1, 2, 3, 4, 5, 6, 7], [8, 9]])
    long, short = (sasrec._loss(network, sequences.pick(np.array([row])), 0) for row in (0, 1))
    torch.testing.assert_close(sasrec._loss(network, sequences, 0), (6 * long + short) / 7)


def test_users_without_likes_have_zeros() -> None:
    space = sasrec.fit(_likes(_timed([[1, 2, 3], [], [4]]), epochs=1))
    assert not space.queries[1].any()
    assert space.queries[[0, 2]].any(axis=1).all()
    assert space.items.shape == (MOVIES, SMALL["dim"])


def test_users_with_one_like_each_teach_nothing() -> None:
    queries = sasrec.fit(_likes(_timed([[1], [2]]), epochs=2)).queries
    assert np.isfinite(queries).all()
    assert queries.any(axis=1).all()


def test_likes_without_times_are_refused(world: HeldOut) -> None:
    with pytest.raises(StageError, match="sasrec learns the order of likes, and these have no times; take it out"):
        sasrec.fit(_likes(replace(world.train, times=None)))


def test_a_large_catalogue_needs_drawn_negatives() -> None:
    by_user = _timed([[1, 2, 3], [44_000, 2]])
    with pytest.raises(StageError, match=r"45,000 movies .* set evaluate\.peers\.sasrec\.negatives"):
        sasrec.fit(_likes(by_user, 45_000))
    assert len(sasrec.fit(_likes(by_user, 45_000, negatives=10, epochs=1)).items) == 45_000


def test_a_device_that_is_missing_is_one_line(world: HeldOut) -> None:
    with pytest.raises(StageError, match=r"evaluate\.peers\.sasrec\.device: cuda:99 was set, but \d+ CUDA devices"):
        sasrec.fit(_likes(world.train, device="cuda:99"))


def test_heads_must_divide_dim() -> None:
    with pytest.raises(ValidationError, match="dim must be a multiple of heads, found 10 and 4"):
        SasrecSettings(dim=10, heads=4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_learns_the_order_with_equal_bytes(world: HeldOut) -> None:
    assert _found_first("sasrec", world, device="cuda") == 1.0
    first, again = (sasrec.fit(_likes(world.train, epochs=2, device="cuda")) for _ in range(2))
    assert first.queries.tobytes() == again.queries.tobytes()
