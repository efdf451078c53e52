"""The network's training: every place trains the query that its history gives, and what sums cannot know is learned."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from kgspark.graph.histories import Histories
from kgspark.kge.model.encoders import start_encoder
from kgspark.kge.model.history_network import HistoryNetwork
from kgspark.kge.objectives import next_likes_network
from kgspark.kge.objectives.next_like_loss import next_like_loss
from kgspark.kge.objectives.next_likes_network import NextLikesByNetwork, windows
from worlds.graphs import DEVICE, settings

MOVIES, WIDTH, USERS, LIKES = 12, 8, 48, 7


@pytest.fixture(autouse=True)
def _exact_products(monkeypatch):
    monkeypatch.setattr(next_likes_network, "product_type", lambda device: torch.float32)


def items(seed=3):
    vectors = torch.randn(MOVIES, WIDTH, generator=torch.Generator().manual_seed(seed))
    return F.normalize(vectors, dim=1).to(DEVICE)


def by_rating(movies=MOVIES) -> Histories:
    """A movie is followed by the next one of a ring of `movies`, or after a low rating by the one before it."""
    draws = np.random.default_rng(5)
    weights = draws.choice([0.25, 1.25], (USERS, LIKES)).astype(np.float32)
    steps = np.where(weights > 1, 1, -1)
    first = np.arange(USERS)[:, None] + np.cumsum(steps, axis=1)
    liked = np.concatenate([np.arange(USERS)[:, None], first[:, :-1]], axis=1) % movies
    times = np.tile(np.arange(LIKES), USERS)
    return Histories.from_sizes([LIKES] * USERS, liked.reshape(-1), weights.reshape(-1), times)


def objective(likes=None, dropout=0.0, **changes) -> NextLikesByNetwork:
    history = {"encoder": "network", "batch_size": 100, "network": {"dropout": dropout}}
    chosen = settings(**{**changes, "history": {**history, **changes.get("history", {})}})
    encoder = start_encoder(items(), chosen)
    assert isinstance(encoder, HistoryNetwork)
    return NextLikesByNetwork(encoder, items(), by_rating() if likes is None else likes, chosen)


def trained_on(objective: NextLikesByNetwork, epochs: int) -> list[float]:
    return [
        objective.epoch(number, lambda done, n=number: 0.02 * (1 - (n - 1) / epochs)) for number in range(1, epochs + 1)
    ]


def test_every_place_trains_the_query_that_its_history_gives():
    trained = objective()
    trained_on(trained, 2)  # so that the network's part is not 0
    ordered = by_rating().in_order()
    block, targets = trained._places(np.array([0, 1, 5]))
    inputs = list(trained.encoder.input_tables.values())
    for column in range(LIKES - 1):
        waits = block.waits.clone()
        at = column - (LIKES - 1)  # the latest place is in the last column
        waits[:, at] = 0  # a query does not know when the next like will be
        generator = torch.Generator(DEVICE).manual_seed(0)
        at_places = trained._queries(inputs, block._replace(waits=waits), generator, lambda x: x)
        for row, first in enumerate(trained.first[[0, 1, 5]]):
            upto = slice(first, first + column + 1)
            assert ordered.times is not None
            assert ordered.weights is not None
            before = Histories.from_sizes(
                [column + 1], ordered.indices[upto], ordered.weights[upto], ordered.times[upto]
            )
            query = trained.encoder.queries(before)[0, :-1]
            torch.testing.assert_close(at_places[row, at].detach(), query, atol=1e-5, rtol=1e-4)
            assert targets[row, at] == ordered.indices[first + column + 1]


def test_windows_make_every_like_but_the_first_a_target_once():
    likes = Histories.from_sizes([1, 0, 8, 2], np.zeros(11, np.int64), times=np.arange(11))
    first, last = windows(likes, 3)
    targets = [place for start, stop in zip(first, last, strict=True) for place in range(start + 1, stop + 1)]
    assert sorted(targets) == [2, 3, 4, 5, 6, 7, 8, 10]
    assert (last - first).tolist() == [3, 3, 1, 1]


def test_the_gradients_are_those_of_the_cross_entropy():
    generator = torch.Generator(DEVICE).manual_seed(1)
    parts = [torch.randn(*shape, device=DEVICE, generator=generator) for shape in ((9, WIDTH), (5, WIDTH), (5, 1))]
    queries, vectors, bias = (part.requires_grad_() for part in parts)
    wanted, counts = torch.arange(9, device=DEVICE) % 5, torch.tensor([0.0, 0, 0, 1, 2], device=DEVICE)
    counted = torch.arange(9, device=DEVICE) != 4
    ours = next_like_loss(queries, vectors, wanted, counts, 0.3, torch.float32, bias, counted)
    scores = (queries @ vectors.T + bias.T) / 0.3 + counts
    theirs = F.cross_entropy(scores[counted], wanted[counted], reduction="sum")
    torch.testing.assert_close(ours, theirs)
    for found, expected in zip(*(torch.autograd.grad(loss, parts) for loss in (ours, theirs)), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("negatives", "batch_size", "epochs"), [(0, 100, 60), pytest.param(4, 12, 15, marks=pytest.mark.extended)]
)
def test_what_follows_depends_on_the_rating(negatives, batch_size, epochs):
    trained = objective(negatives=negatives, dropout=0.05, history={"batch_size": batch_size})
    losses = trained_on(trained, epochs)
    assert losses[-1] < 0.3 * losses[0]
    likes = by_rating()
    _, vectors = trained.encoder.ranked(items(), items())
    scores = trained.encoder.queries(likes) @ vectors.T
    last = likes.indptr[1:] - 1
    assert likes.weights is not None
    following = (likes.indices[last] + np.where(likes.weights[last] > 1, 1, -1)) % MOVIES
    assert (scores.argmax(1).cpu().numpy() == following).mean() > 0.9


def test_movies_without_a_like_are_as_before_training():
    trained = objective(by_rating(MOVIES - 2))
    trained_on(trained, 1)
    encoder = trained.encoder
    assert encoder.output[-2:].eq(0).all()
    assert encoder.output[:-2].ne(0).all()
    assert encoder.bias[-2:].eq(encoder.bias[:-2].min()).all()
    assert torch.equal(encoder.item[-2:], items()[-2:])


def test_an_epoch_is_repeated_byte_for_byte():
    tables = []
    for _ in range(2):
        trained = objective(dropout=0.3, negatives=4, history={"places": 4})
        trained.epoch(1, lambda done: 0.05)
        tables.append(trained.encoder.tables)
    assert all(torch.equal(tables[0][name], table) for name, table in tables[1].items())


def test_nothing_to_learn_changes_nothing():
    one_each = Histories.from_sizes([1, 0, 1], np.array([3, 4]), times=np.array([9, 1]))
    trained = objective(one_each)
    before = trained.encoder.copy()
    assert trained.epoch(1, lambda done: 0.05) == 0
    assert all(torch.equal(table, before.tables[name]) for name, table in trained.encoder.tables.items())
