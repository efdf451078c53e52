"""Queries by the network of histories: its formula, one place at a time, and what they do not depend on."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from kgspark.graph.histories import Histories
from kgspark.graph.places import Places
from kgspark.kge.model.encoders import encoder_of
from kgspark.kge.model.history_network import HistoryNetwork
from kgspark.kge.model.history_sums import DecayedSums

MOVIES, WIDTH, PLACES = 9, 8, 20


def network(width: int = WIDTH, seed: int = 0) -> HistoryNetwork:
    """An encoder whose tables are all random, as after a training."""
    generator = torch.Generator().manual_seed(seed)
    items = torch.randn(MOVIES, width, generator=generator)
    started = HistoryNetwork.start(items, DecayedSums.start(items, (0.5, 3.0)), blocks=2, places=PLACES, seed=seed)

    def drawn(name: str, table: torch.Tensor) -> torch.Tensor:
        return table if name.endswith("places") else table + 0.3 * torch.randn(table.shape, generator=generator)

    return started.changed(drawn)


def histories(sizes: list[int], seed: int = 1) -> Histories:
    draws = np.random.default_rng(seed)
    total = sum(sizes)
    weights = draws.choice([0.25, 0.5, 1.0, 1.25], total).astype(np.float32)
    times = draws.integers(0, 10**9, total) // draws.choice([1, 10**8], total)
    return Histories.from_sizes(sizes, draws.integers(0, MOVIES, total), weights, times)


def one_place_at_a_time(encoder: HistoryNetwork, likes: Histories) -> torch.Tensor:
    """e (width,) of one user by the formula of the module: decaying sums as recurrences."""
    network, ordered = encoder.network, likes.in_order()
    places = Places.of(ordered)
    heads = len(network.blocks[0].log_rates)
    states = [torch.zeros(heads, encoder.item.shape[1] // heads, dtype=encoder.item.dtype) for _ in network.blocks]
    for place in range(max(0, len(places.movies) - PLACES), len(places.movies)):
        x = encoder.item[places.movies[place]] + network.weights[places.weights[place]]
        x = x + network.gaps[places.gaps[place]] + network.waits[places.waits[place]]
        for number, block in enumerate(network.blocks):
            normed = block.before(x)
            kept = torch.exp(-block.log_rates.exp())[:, None] * states[number]
            states[number] = kept + block.value(normed).view(heads, -1)
            sums = F.layer_norm(states[number], states[number].shape[-1:]).view(-1)
            x = x + block.mix(sums * F.silu(block.gate(normed)))
            x = x + block.down(F.gelu(block.up(block.between(x))))
    return encoder.sums.queries(likes)[0] + network.out(network.last(x))


@pytest.mark.parametrize("width", [8, 6, 7])
def test_a_query_is_that_of_the_recurrence(width):
    encoder = network(width).double()
    likes = histories([1, 5, 17, 18, 60])
    found = encoder.queries(likes)
    for user in range(len(likes)):
        expected = one_place_at_a_time(encoder, likes.pick(np.array([user])))
        torch.testing.assert_close(found[user, :-1], expected.detach())
    assert found[:, -1].eq(1).all()


def test_a_query_depends_on_its_own_history_alone_to_the_last_bit():
    encoder, likes = network(64), histories([3, 0, 40, 7, 16, 200, 3])
    together = encoder.queries(likes)
    alone = [encoder.queries(likes.pick(np.array([user])))[0] for user in range(len(likes))]
    assert torch.equal(together, torch.stack(alone))
    turned = likes.pick(np.arange(len(likes))[::-1])
    assert torch.equal(encoder.queries(turned), together.flip(0))
    assert together[1].eq(0).all()


def test_ratings_and_times_count():
    encoder, likes = network(), histories([6])
    assert likes.weights is not None
    assert likes.times is not None
    other = Histories(likes.indptr, likes.indices, likes.weights[::-1].copy(), likes.times)
    slower = Histories(likes.indptr, likes.indices, likes.weights, likes.times * 50)
    queries = [encoder.queries(each) for each in (likes, other, slower)]
    assert not torch.allclose(queries[0], queries[1], atol=1e-3)
    assert not torch.allclose(queries[0], queries[2], atol=1e-3)


def test_what_a_place_reads():
    times = np.array([100, 100, 103, 50, 50 + 2**40])
    places = Places.of(Histories.from_sizes([3, 2], np.arange(5), np.array([1, 0.5, 1.25, 0, 1e9], np.float32), times))
    assert places.gaps.tolist() == [0, 1, 3, 0, 32]
    assert places.waits.tolist() == [1, 3, 0, 32, 0]
    assert places.weights.tolist() == [32, 24, 35, 1, 63]
    likes = Histories.from_sizes([1, 1, 1, 0], np.arange(3), times=np.array([100, 100, 100]))
    assert Places.of(likes, np.array([99, 100, 103, 0])).waits.tolist() == [0, 1, 3]  # what was before is not known
    block = places.block(np.array([0, 3]), np.array([3, 4]), 3)
    assert block.movies.tolist() == [[0, 1, 2], [0, 0, 3]]
    assert block.present.tolist() == [[True] * 3, [False, False, True]]


def test_tables_of_a_model_file_give_the_same_encoder():
    encoder = network()
    again = encoder_of({**encoder.tables, "entities": torch.zeros(2, 2)})
    assert isinstance(again, HistoryNetwork)
    assert again.tables.keys() == encoder.tables.keys()
    assert torch.equal(again.queries(histories([4, 30])), encoder.queries(histories([4, 30])))


def test_queries_and_items_are_ranked_by_one_product():
    encoder, likes = network(), histories([4, 9])
    generator = torch.Generator().manual_seed(3)
    own, items = torch.randn(2, WIDTH, generator=generator), torch.randn(MOVIES, WIDTH, generator=generator)
    queries, vectors = encoder.ranked(own, items)
    torch.testing.assert_close(queries @ vectors.T, own @ (items + encoder.output).T)
    e = encoder.queries(likes)
    torch.testing.assert_close(e @ vectors.T, e[:, :-1] @ (items + encoder.output).T + encoder.bias.T)
    assert encoder.ranked_by("l2") == "inner_product"


def test_movies_that_were_not_trained_keep_their_vector_and_are_as_rare_as_any():
    encoder = network()
    rows = torch.tensor([4, 0, 2])
    spread = encoder.of_movies(rows).among(torch.tensor([1, 3, 6]), 8)
    assert torch.equal(spread.output[[1, 3, 6]], encoder.output[rows])
    assert torch.equal(spread.item[[1, 3, 6]], encoder.item[rows])
    new = [0, 2, 4, 5, 7]
    assert spread.output[new].eq(0).all()
    assert spread.bias[new].eq(encoder.bias[rows].min()).all()
    assert torch.equal(spread.network.out.weight, encoder.network.out.weight)
    encoder.forget(torch.arange(MOVIES) == 5)
    assert encoder.output[5].eq(0).all()
    assert encoder.bias[5] == encoder.bias.min()
