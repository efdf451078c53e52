"""Trained histories: a planted order is found, and a model without histories cannot find it."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from kgspark.kge.export.model_files import load_model, save_model
from kgspark.kge.export.search_space import export_search_space
from kgspark.kge.model.encoders import start_encoder
from kgspark.kge.model.history import is_movie_table
from kgspark.kge.model.history_sums import DecayedSums
from kgspark.kge.training.training import Trained
from kgspark.kge.training.warm_start import carry_over
from worlds.graphs import LIKED, settings
from worlds.orders import LAYOUT, LIKES, MOVIES, NETWORK, ORDERED, USERS, in_a_ring, trained


@pytest.fixture(scope="module", params=["sums", "network"])
def encoder(request) -> dict:
    """The settings of an encoder that is trained."""
    return {"history": ORDERED["history"] if request.param == "sums" else NETWORK}


@pytest.fixture(scope="module")
def ordered(tmp_path_factory, encoder) -> Trained:
    return trained(tmp_path_factory.mktemp("ordered"), **encoder)


def test_what_always_follows_is_found_and_not_without_histories(tmp_path, ordered):
    plain = trained(tmp_path / "plain", export={"recent_share": 0})
    assert ordered.settings.export.recent_share >= 0.2
    assert ordered.valid["ndcg@10"] == 1
    assert ordered.test["ndcg@10"] > 0.92
    # The movie before the first like of a history is as near to it as the one after the last like.
    assert plain.valid["ndcg@10"] < 0.9
    assert plain.test["ndcg@10"] < 0.9


def test_published_queries_know_the_held_out_likes(ordered):
    graph = in_a_ring()
    space = export_search_space(ordered.model, graph, ordered.settings, ordered.evidence, ordered.encoder)
    scores = space.queries @ space.items.T
    seen = graph.histories(LIKED, ("train", "valid", "test"))
    scores[seen.rows(), seen.indices] = -np.inf
    order = np.random.default_rng(0).permutation(MOVIES)
    next_one = order[(np.arange(USERS) * 7 + LIKES) % MOVIES]
    assert (scores.argmax(1) == next_one).mean() > 0.85  # one in twenty by chance


def test_the_published_tables_have_learned_the_held_out_likes_and_the_measured_ones_have_not(
    ordered, encoder, tmp_path
):
    unrefitted = trained(tmp_path / "unrefitted", refit="none", **encoder)
    for name, table in ordered.measured_encoder.tables.items():
        assert torch.equal(table, unrefitted.encoder.tables[name])
        if is_movie_table(name):
            assert not torch.equal(table, ordered.encoder.tables[name])


def test_histories_are_trained_again_byte_for_byte_and_saved_with_the_model(tmp_path, ordered, encoder):
    again = trained(tmp_path / "again", **encoder)
    assert ordered.encoder is not None
    assert again.encoder is not None
    for name, table in ordered.encoder.tables.items():
        assert torch.equal(again.encoder.tables[name], table)
    path = tmp_path / "model.safetensors"
    save_model(path, again.model, in_a_ring(), again.settings, again.evidence, again.encoder)
    saved = load_model(path)
    assert saved.encoder is not None
    spaces = [
        export_search_space(model, in_a_ring(), again.settings, again.evidence, encoder)
        for model, encoder in ((again.model, again.encoder), (saved.build(), saved.encoder))
    ]
    assert spaces[0].model_id == spaces[1].model_id
    with pytest.raises(ValueError, match="need the encoder of histories"):
        export_search_space(again.model, in_a_ring(), again.settings, again.evidence)


def test_an_earlier_nights_tables_follow_their_movies(tmp_path, ordered):
    path = tmp_path / "model.safetensors"
    save_model(path, ordered.model, in_a_ring(), ordered.settings, ordered.evidence, ordered.encoder)
    kinds = ["user"] * USERS + ["movie"] * MOVIES
    ids = [str(i) for i in range(USERS)] + [f"m{i}" for i in range(MOVIES)]
    old = pa.table({"index": np.arange(LAYOUT.size), "kind": kinds, "external_id": ids})
    # Today one user is new, a movie is gone, another one is new, and movies stand in another order.
    today_ids = [str(i) for i in range(USERS + 1)] + ["new", *[f"m{i}" for i in reversed(range(1, MOVIES))]]
    new = pa.table({"index": np.arange(LAYOUT.size + 1), "kind": ["user", *kinds], "external_id": today_ids})
    carried = carry_over(path, old, new, [LIKED], ordered.settings)
    fresh = start_encoder(torch.ones(MOVIES, ordered.settings.dim), ordered.settings)
    today = fresh.copy()
    assert carried.apply_encoder(today)
    assert ordered.encoder is not None
    for name, table in today.tables.items():
        earlier = ordered.encoder.tables[name]
        if is_movie_table(name):
            assert torch.equal(table[0], fresh.tables[name][0])
            assert torch.equal(table[1:], earlier.flip(0)[: MOVIES - 1])
        else:
            assert torch.equal(table, earlier)
    others = [
        DecayedSums.start(torch.ones(MOVIES, 16), (3.0,)),
        start_encoder(torch.ones(MOVIES, 16), settings(history={**NETWORK, "network": {"blocks": 2}})),
    ]
    for other in others:
        before = other.copy()
        assert not carried.apply_encoder(other)
        assert all(torch.equal(table, before.tables[name]) for name, table in other.tables.items())
