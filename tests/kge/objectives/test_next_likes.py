"""The softmax over the next like: what it learns is what queries use, and gradients are right."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from kgspark.graph.histories import Histories
from kgspark.kge.model.history_sums import DecayedSums
from kgspark.kge.objectives import next_likes
from kgspark.kge.objectives.next_like_loss import competitors, next_like_loss
from kgspark.kge.objectives.next_likes import NextLikes
from worlds.graphs import DEVICE, settings

MOVIES, WIDTH, USERS = 12, 8, 40


@pytest.fixture(autouse=True)
def _exact_products(monkeypatch):
    monkeypatch.setattr(next_likes, "product_type", lambda device: torch.float32)


def items(seed=3):
    vectors = torch.randn(MOVIES, WIDTH, generator=torch.Generator().manual_seed(seed))
    return F.normalize(vectors, dim=1).to(DEVICE)


def in_a_ring(length=6) -> Histories:
    """Every user likes movies one after the other, each followed by the next one of a ring of all movies."""
    sizes = [length - user // MOVIES % 3 for user in range(USERS)]
    movies = np.concatenate([(user + np.arange(size)) % MOVIES for user, size in enumerate(sizes)])
    times = np.concatenate([100 + np.arange(size) for size in sizes])
    return Histories.from_sizes(sizes, movies, times=times)


def objective(likes=None, **changes) -> NextLikes:
    chosen = settings(**{"history": {"dropout": 0.0}, **changes})
    encoder = DecayedSums.start(items(), chosen.history.half_lives)
    return NextLikes(encoder, items(), in_a_ring() if likes is None else likes, chosen)


def test_every_place_trains_the_query_that_its_history_gives():
    trained = objective()
    users = np.array([0, 1, 2, 5])
    movies, present, targets = trained._places(users)
    maps = list(trained.encoder.tables.values())
    at_places = trained._queries(maps, movies, present)
    for row, user in enumerate(users):
        history = trained.likes.pick(np.array([user]))
        for column in np.flatnonzero(present[row].cpu().numpy()):
            known = int(present[row, : column + 1].sum())
            before = Histories.from_sizes([known], history.indices[:known], times=history.times[:known])
            torch.testing.assert_close(at_places[row, column], trained.encoder.queries(before)[0], atol=1e-5, rtol=1e-4)
            assert targets[row, column] == history.indices[known]


def test_only_the_latest_places_are_trained_and_never_those_of_a_single_like():
    one = Histories.from_sizes([1, 0, 5], np.array([3, 0, 1, 2, 3, 4]), times=np.array([9, 1, 2, 3, 4, 5]))
    trained = objective(one, history={"dropout": 0.0, "places": 2})
    assert trained.lengths.tolist() == [0, 0, 2]
    movies, present, targets = trained._places(np.array([2]))
    assert (movies.tolist(), targets.tolist(), present.all().item()) == ([[2, 3]], [[3, 4]], True)


def test_the_gradient_is_that_of_the_cross_entropy():
    queries = torch.randn(9, WIDTH, requires_grad=True, device=DEVICE)
    wanted = torch.arange(9, device=DEVICE) % MOVIES
    ours = next_like_loss(queries, items(), wanted, None, 0.3, torch.float32)
    (found,) = torch.autograd.grad(ours, queries)
    theirs = F.cross_entropy(queries @ items().T / 0.3, wanted, reduction="sum")
    (expected,) = torch.autograd.grad(theirs, queries)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_sample_holds_the_wanted_movies_once_and_any_other_equally_often():
    wanted = torch.tensor([4, 7, 4], device=DEVICE)
    drawn = torch.zeros(MOVIES, dtype=torch.int64)
    generator = torch.Generator(DEVICE).manual_seed(1)
    for _ in range(600):
        offered, positions, log_counts = competitors(wanted, MOVIES, 3, generator)
        numbers = offered.cpu()
        assert numbers[positions.cpu()].tolist() == [4, 7, 4]
        assert log_counts is not None
        assert torch.allclose(log_counts.exp().cpu(), torch.tensor([1, 1] + 3 * [(MOVIES - 2) / 3]))
        drawn += torch.bincount(numbers[2:], minlength=MOVIES)
    assert drawn[[4, 7]].tolist() == [0, 0]
    others = drawn[[movie for movie in range(MOVIES) if movie not in (4, 7)]].float()
    assert others.sum() == 1800
    assert ((others - 180).abs() < 5 * 180**0.5).all()


@pytest.mark.parametrize("negatives", [0, 4])
def test_a_planted_order_is_learned(negatives):
    trained = objective(negatives=negatives, history={"dropout": 0.1, "batch_size": 40})
    losses = [trained.epoch(number, lambda done, number=number: 0.1 / number) for number in range(1, 41)]
    assert losses[-1] < 0.5 * losses[0]
    likes = in_a_ring()
    scores = trained.encoder.queries(likes) @ trained.items.T
    scores[torch.from_numpy(likes.rows()), torch.from_numpy(likes.indices)] = -torch.inf
    last = likes.indices[likes.indptr[1:] - 1]
    assert scores.argmax(1).cpu().numpy().tolist() == ((last + 1) % MOVIES).tolist()


def test_an_epoch_is_repeated_byte_for_byte():
    tables = []
    for _ in range(2):
        trained = objective(history={"dropout": 0.3, "batch_size": 40})
        trained.epoch(1, lambda done: 0.05)
        tables.append(torch.stack(list(trained.encoder.tables.values())))
    assert torch.equal(*tables)
