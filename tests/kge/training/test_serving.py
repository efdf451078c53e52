"""An earlier model under today's numbering: vectors joined by id, and nothing untrained among them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from kgspark.errors import StageError
from kgspark.graph.graph import Graph
from kgspark.graph.layout import EntityLayout
from kgspark.kge.export.evidence import LIKES, NOTHING, TRIPLES
from kgspark.kge.export.model_files import load_model, measured_file, save_model
from kgspark.kge.export.search_space import export_search_space
from kgspark.kge.model.two_tower import parameters_by_table, tower_of
from kgspark.kge.settings import TrainSettings
from kgspark.kge.training.serving import serve
from kgspark.kge.training.training import Trained, train
from kgspark.kge.training.warm_start import carry_over
from kgspark.search_space import SearchSpace, pairwise_scores
from kgspark.tables import SOURCES
from worlds.graphs import GENRES, LAYOUT, LIKED, MODELS, MOVIES, RELATIONS, USERS, block_columns, block_world, settings

SERVING = {"epochs": 0, "warm_start": "latest"}


def entities(names: list[tuple[str, str]]) -> pa.Table:
    kinds, ids = zip(*names, strict=True)
    return pa.table({"index": np.arange(len(names)), "kind": kinds, "external_id": ids})


# The ids of the trained night, by index.
NAMES = [(kind, str(i)) for kind, (start, stop) in LAYOUT.ranges.items() for i in range(stop - start)]


class Earlier:
    """A trained night: its graph, its result and its files."""

    def __init__(self, folder: Path, graph: Graph, **chosen: object) -> None:
        self.folder, self.chosen = folder, chosen
        self.trained = train(graph, settings(refit="continue", **chosen), folder)
        done = self.trained
        for name, model, evidence, encoder in (
            ("model.safetensors", done.model, done.evidence, done.encoder),
            ("measured.safetensors", done.measured, done.measured_evidence, done.measured_encoder),
        ):
            save_model(folder / name, model, graph, done.settings, evidence, encoder)

    def serve(self, graph: Graph, names: list[tuple[str, str]], **changes: object) -> Trained:
        today = TrainSettings.model_validate({**settings(**self.chosen).model_dump(), **SERVING, **changes})
        starts = [
            carry_over(self.folder / name, entities(NAMES), entities(names), graph.relations, today)
            for name in ("model.safetensors", "measured.safetensors")
        ]
        return serve(graph, today, *starts)


def space_of(trained: Trained, graph: Graph) -> SearchSpace:
    return export_search_space(trained.model, graph, trained.settings, trained.evidence, trained.encoder)


@pytest.mark.parametrize(("name", "norm"), MODELS)
def test_the_same_night_served_again_has_the_same_vectors_and_metrics(tmp_path, name, norm):
    graph = block_world()
    earlier = Earlier(tmp_path, graph, model=name, norm=norm)
    served = earlier.serve(graph, NAMES, seed=7, learning_rate=1.0, refit="none")  # not read, as nothing is trained
    for one, other in ((served.model, earlier.trained.model), (served.measured, earlier.trained.measured)):
        for table, values in parameters_by_table(other).items():
            assert torch.equal(parameters_by_table(one)[table], values)
    np.testing.assert_array_equal(served.evidence, earlier.trained.evidence)
    for metrics in ("valid", "test", "popularity"):
        assert getattr(served, metrics) == pytest.approx(getattr(earlier.trained, metrics), abs=1e-9)
    before, now = (space_of(trained, graph) for trained in (earlier.trained, served))
    assert before.model_id == now.model_id
    assert served.to_json()["epochs"] == 0
    assert (served.settings.seed, served.settings.refit) == (earlier.trained.settings.seed, "continue")


def test_the_settings_of_the_export_are_todays(tmp_path):
    earlier = Earlier(tmp_path, block_world(), export={"recent_share": 0.3})
    today = {"recent_share": "auto", "audience_activity": 1.0}
    served = earlier.serve(block_world(), NAMES, export=today)
    assert (served.settings.export.audience_activity, served.settings.export.recent_share) == (1.0, 0.3)


def reordered(order: np.ndarray) -> Graph:
    """The block world with another number for each entity: `order[i]` is the old index of today's entity i."""
    columns, today = block_columns(), np.argsort(order)
    changed = {end: today[columns[end]] for end in ("head", "tail")}
    return Graph.from_columns({**columns, **changed}, LAYOUT, RELATIONS)


def test_another_numbering_changes_nothing(tmp_path):
    earlier = Earlier(tmp_path, block_world())
    rng, (first, stop) = np.random.default_rng(3), LAYOUT.range("movie")
    users, movies = rng.permutation(USERS), rng.permutation(MOVIES)
    order = np.concatenate([users, first + movies, np.arange(stop, LAYOUT.size)])
    graph = reordered(order)
    served = earlier.serve(graph, [NAMES[i] for i in order])
    before, now = space_of(earlier.trained, block_world()), space_of(served, graph)
    np.testing.assert_array_equal(now.queries, before.queries[users])
    np.testing.assert_array_equal(now.items, before.items[movies])
    assert served.test == pytest.approx(earlier.trained.test, abs=1e-9)


NEW_USERS, NEW_MOVIES = 2, 2
TODAY = EntityLayout.from_counts([("user", USERS + NEW_USERS), ("movie", MOVIES + NEW_MOVIES), ("genre", GENRES + 1)])


def grown_world() -> tuple[Graph, list[tuple[str, str]]]:
    """New entities before all others: users and movies with likes, one movie of genre 0 and one of a new genre."""
    columns = block_columns()
    shift = np.concatenate(
        [
            np.arange(USERS) + NEW_USERS,
            np.arange(MOVIES) + TODAY.range("movie")[0] + NEW_MOVIES,
            np.arange(GENRES) + TODAY.range("genre")[0] + 1,
        ]
    )
    movie, genre = TODAY.range("movie")[0], TODAY.range("genre")[0]
    new = [(user, 0, movie + m, split) for user in (0, 5) for m, split in ((0, "train"), (1, "test"))]
    new += [(movie, 1, genre + 1, "train"), (movie + 1, 1, genre, "train")]
    added = dict(zip(("head", "relation", "tail", "split"), map(np.array, zip(*new, strict=True)), strict=True))
    merged = {end: np.concatenate([shift[columns[end]], added[end]]) for end in ("head", "tail")}
    merged["relation"] = np.concatenate([columns["relation"], added["relation"]]).astype(np.int32)
    merged["split"] = np.concatenate([columns["split"], added["split"]])
    merged["weight"] = np.ones(len(merged["head"]), np.float32)
    names = [("user", "a"), ("user", "b"), *NAMES[:USERS], ("movie", "a"), ("movie", "b")]
    names += [*NAMES[USERS : USERS + MOVIES], ("genre", "a"), *NAMES[USERS + MOVIES :]]
    return Graph.from_columns(merged, TODAY, RELATIONS), names


@pytest.mark.parametrize(("name", "norm"), MODELS)
def test_what_arrived_after_the_training_never_has_an_untrained_vector(tmp_path, name, norm):
    earlier = Earlier(tmp_path, block_world(), model=name, norm=norm, epochs=8)
    graph, names = grown_world()
    served = earlier.serve(graph, names)
    before, now = space_of(earlier.trained, block_world()), space_of(served, graph)
    np.testing.assert_array_equal(now.queries[NEW_USERS:], before.queries)
    np.testing.assert_array_equal(now.items[NEW_MOVIES:], before.items)
    named = [[SOURCES[place] for place in sources] for sources in (now.query_sources, now.item_sources)]
    folds = norm == 2 and name != "rotate"  # the others rank by sums of distances
    of_new_users = ["facts" if folds else "average", "average"]  # the first one likes a movie that has a vector
    assert named == [of_new_users + ["model"] * USERS, ["facts", "average"] + ["model"] * MOVIES]
    np.testing.assert_allclose(now.queries[1], before.queries.mean(axis=0), atol=1e-5)
    evidence = dict(zip(names, served.evidence.tolist(), strict=True))
    assert [evidence["user", "a"], evidence["genre", "a"], evidence["movie", "b"]] == [NOTHING] * 3
    for table in tower_of(served.settings).entity_tables:  # no random start is left in the file
        assert not parameters_by_table(served.model)[table][:NEW_USERS].any()
    assert (evidence["genre", "0"], evidence["user", "0"], evidence["movie", "0"]) == (TRIPLES, LIKES, LIKES)
    if folds:  # the others add what facts do not explain, at random
        scores = pairwise_scores(now, np.arange(USERS) + NEW_USERS, np.zeros(USERS, int))
        own = np.arange(USERS) % GENRES == 0
        assert scores[own].mean() > scores[~own].mean()


def test_only_users_of_the_model_are_measured_and_movies_without_a_vector_are_misses(tmp_path):
    """User 5, user 3 of the model, has a first test like, which is a miss. That of the new user 0 is left out."""
    earlier = Earlier(tmp_path, block_world(), epochs=8)
    graph, names = grown_world()
    served = earlier.serve(graph, names)
    measured = len(np.unique(block_world().pairs(LIKED, ("test",)).heads))
    expected = earlier.trained.test["recall@10"] * measured / (measured + 1)
    assert served.test["recall@10"] == pytest.approx(expected, abs=1e-9)


def test_a_training_does_not_start_from_what_a_served_model_was_not_trained_on(tmp_path):
    earlier = Earlier(tmp_path, block_world())
    graph, names = grown_world()
    served = earlier.serve(graph, names)
    save_model(tmp_path / "served", served.model, graph, served.settings, served.evidence, served.encoder)
    start = carry_over(tmp_path / "served", entities(names), entities(names), RELATIONS, settings())
    new = {i for i, name in enumerate(names) if name not in set(NAMES)}
    assert set(start.rows["entity_emb"].tolist()) == set(range(TODAY.size)) - new


def test_a_model_that_knows_nobody_of_today_is_a_clear_error(tmp_path):
    earlier = Earlier(tmp_path, block_world())
    strangers = [(kind, f"x{number}" if kind == "user" else number) for kind, number in NAMES]
    with pytest.raises(StageError, match=r"train\.epochs=0: the model to serve knows no user of this night"):
        earlier.serve(block_world(), strangers)


def test_another_target_is_a_clear_error(tmp_path):
    earlier = Earlier(tmp_path, block_world())
    loved = [replace(relation, name=relation.name.replace("liked", "loved")) for relation in RELATIONS]
    graph = Graph(block_world().triples, LAYOUT, loved)
    with pytest.raises(StageError, match=r"train\.epochs=0: the model to serve recommends by 'liked', not 'loved'"):
        earlier.serve(graph, NAMES, target="loved")


def test_a_model_file_tells_what_its_vectors_were_trained_on(tmp_path):
    earlier = Earlier(tmp_path, block_world())
    assert measured_file(tmp_path).name == "measured.safetensors"
    for name, evidence in (
        ("model.safetensors", earlier.trained.evidence),
        ("measured.safetensors", earlier.trained.measured_evidence),
    ):
        saved = load_model(tmp_path / name)
        np.testing.assert_array_equal(saved.evidence, evidence)
        assert "evidence" not in saved.tables


def test_nothing_to_serve_is_refused_with_the_settings():
    with pytest.raises(ValueError, match="epochs=0 trains nothing; set warm_start to latest"):
        settings(epochs=0)
