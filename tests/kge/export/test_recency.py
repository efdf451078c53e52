from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kgspark.graph.decays import recent_weights
from kgspark.graph.graph import Graph
from kgspark.graph.histories import Histories
from kgspark.graph.layout import EntityLayout
from kgspark.graph.relation import Relation
from kgspark.graph.triples import TripleSet
from kgspark.kge.export.recency import (
    choose_recent_share,
    lean,
    recent_vectors,
    share_that_follows,
)
from kgspark.kge.export.search_space import export_search_space
from kgspark.kge.export.vectors import target_vectors
from kgspark.kge.model.two_tower import build_model
from kgspark.kge.training.training import train
from kgspark.retrieval.space_recommender import SpaceRecommender
from kgspark.retrieval.topk import top_k_of_scores
from worlds.graphs import settings

GROUPS, IN_A_GROUP, USERS = 6, 8, 120
MOVIES = GROUPS * IN_A_GROUP
LAYOUT = EntityLayout.from_counts([("user", USERS), ("movie", MOVIES)])
LIKED = Relation(0, "liked", "user", "movie")


def likes(sizes, times, tails=None):
    tails = np.arange(sum(sizes)) if tails is None else np.asarray(tails)
    return Histories.from_sizes(sizes, tails, times=np.asarray(times, np.int64))


def drifting(latest_is_held_out: bool, timed: bool = True) -> Graph:
    """Users like six movies of one group, then two of the next; one more like, of either group, is held out."""
    generator = np.random.default_rng(1)
    rows = []
    for user in range(USERS):
        early = user % GROUPS
        first, then = (
            group * IN_A_GROUP + generator.permutation(IN_A_GROUP) for group in (early, (early + 1) % GROUPS)
        )
        rows += [(user, movie, "train", 100 + at) for at, movie in enumerate(first[:6])]
        rows += [(user, movie, "train", 200 + at) for at, movie in enumerate(then[:2])]
        rows.append((user, (then if latest_is_held_out else first)[6], ("valid", "test")[user // GROUPS % 2], 300))
    head, movie, split, timestamp = (np.array(column) for column in zip(*rows, strict=True))
    columns = {
        "head": head,
        "relation": np.zeros(len(rows), np.int32),
        "tail": USERS + movie,
        "split": split,
        "weight": np.ones(len(rows), np.float32),
    }
    return Graph.from_columns(columns | ({"timestamp": timestamp} if timed else {}), LAYOUT, [LIKED])


def trained_on(world, folder, **changes):
    folder.mkdir()
    chosen = settings(**{"dim": 16, "epochs": 6, "head_rate": 10.0, "learning_rate": 0.01, **changes})
    return train(world, chosen, folder)


def test_weights_halve_per_position_and_sum_to_one():
    weights = recent_weights(likes([3, 0, 1, 4], [30, 10, 20, 5, 7, 9, 9, 8]), 1.0)
    places = [1, 1 / 4, 1 / 2, 1, 1 / 8, 3 / 4, 3 / 4, 1 / 4]  # the sixth and seventh have the same second
    of_users = [7 / 4] * 3 + [1] + [15 / 8] * 4
    assert weights == pytest.approx(np.array(places) / of_users)


@given(st.lists(st.lists(st.integers(1, 6), max_size=12), min_size=1, max_size=6), st.floats(0.3, 20))
def test_later_likes_never_weigh_less(users, half_life):
    times = [time for of_user in users for time in of_user]
    weights = recent_weights(likes([len(of_user) for of_user in users], times), half_life)
    for start, of_user in zip(np.cumsum([0, *map(len, users)]), users, strict=False):
        own, at = weights[start : start + len(of_user)], np.array(of_user, np.int64)
        assert own.sum() == pytest.approx(float(bool(of_user)), abs=1e-6)
        later, earlier = np.meshgrid(*2 * [np.arange(len(own))])
        assert (own[later] >= own[earlier])[at[later] > at[earlier]].all()
        assert (own[later] == own[earlier])[at[later] == at[earlier]].all()


def test_the_order_of_the_likes_is_not_read():
    items = F.normalize(torch.randn(9, 5, generator=torch.Generator().manual_seed(0)))
    straight = recent_vectors(items, likes([4, 5], [1, 2, 3, 3, 9, 8, 7, 6, 5], [0, 2, 4, 6, 1, 3, 5, 7, 8]), 1.5)
    turned = recent_vectors(items, likes([4, 5], [3, 3, 2, 1, 5, 6, 7, 8, 9], [6, 4, 2, 0, 8, 7, 5, 3, 1]), 1.5)
    torch.testing.assert_close(straight, turned)


def test_a_leaning_query_ranks_by_the_triples_score_and_the_distances_to_the_latest_likes():
    """Up to a term equal for all t, −‖q' − t‖² is a mixture of the triple's squared score and of squared distances."""
    chosen, share = settings(dim=12), 0.4
    torch.manual_seed(3)
    model = build_model(chosen, LAYOUT.size, 1)
    queries, items = target_vectors(model, Graph(TripleSet({}), LAYOUT, (LIKED,)), chosen)
    known = likes([3] * USERS, np.arange(3 * USERS), np.tile([2, 5, 11], USERS))
    leant = lean(queries, recent_vectors(items, known, 1.0), share)
    user, movies = 7, torch.arange(MOVIES)
    triples = torch.stack([torch.full((MOVIES,), user), torch.zeros(MOVIES, dtype=torch.long), movies + USERS], dim=1)
    scores = model.score_triples(triples).detach()
    own = -scores.square()  # tgraphx's score is −‖q − t‖
    weights = torch.tensor([1.0, 2.0, 4.0]) / 7
    near = -(torch.cdist(items[[2, 5, 11]], items).square() * weights[:, None]).sum(0)
    scale = queries[user].norm() / (items[[2, 5, 11]] * weights[:, None]).sum(0).norm()
    mixed = (1 - share) * own + share * scale * near
    told = -(leant[user] - items).square().sum(1)
    torch.testing.assert_close(told - told.mean(), mixed - mixed.mean(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("model", "encoder"), [("transe", "sums"), ("transe", "latest"), ("distmult", "sums")])
def test_validation_decides_whether_queries_lean(tmp_path, model, encoder):
    history = {"encoder": encoder}
    latest = trained_on(drifting(latest_is_held_out=True), tmp_path / "latest", model=model, history=history)
    plain = trained_on(drifting(latest_is_held_out=True), tmp_path / "plain", model=model, export={"recent_share": 0})
    earlier = trained_on(drifting(latest_is_held_out=False), tmp_path / "earlier", model=model, history=history)
    assert latest.settings.export.recent_share >= 0.2
    assert latest.valid["ndcg@10"] > 1.1 * plain.valid["ndcg@10"]
    assert latest.test["ndcg@10"] > 1.1 * plain.test["ndcg@10"]
    assert (earlier.settings.export.recent_share, earlier.encoder) == (0, None)
    assert latest.to_json()["recent_share"] == latest.settings.export.recent_share


def test_likes_without_times_have_nothing_to_lean_towards(tmp_path):
    world = drifting(latest_is_held_out=True, timed=False)
    told, plain = (trained_on(world, tmp_path / str(share), export={"recent_share": share}) for share in (0.5, 0))
    assert trained_on(world, tmp_path / "auto").settings.export.recent_share == 0
    assert told.test == plain.test
    with pytest.raises(ValueError, match="without times"):
        recent_weights(world.histories(LIKED), 1.0)


@pytest.mark.parametrize("encoder", ["sums", "latest"])
def test_the_search_space_ranks_as_it_was_measured(tmp_path, encoder):
    world = drifting(latest_is_held_out=True)
    trained = trained_on(world, tmp_path / "run", history={"encoder": encoder})
    assert (trained.encoder is not None) == (encoder == "sums")
    space = export_search_space(
        trained.model, world, trained.settings, encoder=trained.encoder, known=("train", "valid")
    )
    seen, test = world.histories(LIKED, ("train", "valid")), world.histories(LIKED, ("test",))
    asking = np.flatnonzero(test.sizes)
    ranking = top_k_of_scores(SpaceRecommender(space, 1).scores(asking), seen.pick(asking), 10)
    places = (ranking.ids == test.pick(asking).indices[:, None]).argmax(axis=1)
    found = (ranking.ids == test.pick(asking).indices[:, None]).any(axis=1)
    assert trained.test["ndcg@10"] == pytest.approx(np.where(found, 1 / np.log2(places + 2), 0).mean())


def test_a_user_without_likes_keeps_the_query():
    queries = torch.randn(3, 4)
    recent = recent_vectors(F.normalize(torch.randn(5, 4)), likes([2, 0, 1], [1, 2, 3], [0, 4, 2]), 1.0)
    leant = lean(queries, recent, 0.9)
    assert torch.equal(leant[1], queries[1])
    torch.testing.assert_close(lean(queries, recent, 1.0)[0].norm(), queries[0].norm())


def test_sums_of_distances_have_no_mean_to_lean_to():
    vectors = torch.randn(4, 6)
    held_out = likes([1] * 4, [2] * 4, [0, 1, 2, 3])
    assert (
        choose_recent_share(vectors, vectors, "modulus", held_out, likes([1] * 4, [1] * 4, [1, 2, 3, 0]), 1.0, 10) == 0
    )
    for changes in ({"model": "rotate"}, {"norm": 1}):
        with pytest.raises(ValidationError, match=r"export\.recent_share is for models that rank by inner products"):
            settings(export={"recent_share": 0.3}, **changes)
        assert settings(**changes).export.recent_share == "auto"


def test_only_likes_after_a_users_known_ones_follow_them():
    seen = likes([2, 0, 3, 1], [5, 9, 1, 2, 3, 7])
    held_out = likes([2, 1, 1, 1], [10, 6, 4, 3, 6])  # later, between; of nobody known; as late as; earlier
    assert share_that_follows(held_out, seen) == 2 / 4
    assert share_that_follows(likes([0] * 4, []), seen) == 0
    assert share_that_follows(Histories.of([[1], [], [], []]), seen) == 0


def test_histories_are_not_trained_where_validation_cannot_judge_them(tmp_path):
    between = drifting(latest_is_held_out=True)
    parts = dict(between.triples.parts)
    for split in ("valid", "test"):
        pairs = parts[split, LIKED.index]
        parts[split, LIKED.index] = replace(pairs, times=np.full(len(pairs), 150))
    world = Graph(TripleSet(parts), LAYOUT, (LIKED,))
    assert trained_on(world, tmp_path / "auto").encoder is None
    assert trained_on(world, tmp_path / "wanted", export={"recent_share": 0.4}).encoder is not None
