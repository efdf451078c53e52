"""Nights between two trainings: the last model is served under today's numbering, joined by id."""

import copy
import csv
import shutil
from collections import Counter
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from answered import assert_answers_are_the_tables
from kgspark.errors import StageError
from kgspark.fold_in import FoldIn
from kgspark.kge.export.model_files import MODEL_FILE
from kgspark.manifests import Manifest
from kgspark.night.night import Night
from kgspark.search_space import SearchSpace
from kgspark.stages import nightly, train_embeddings
from kgspark.stages.nightly import STAGES, check_earlier_stages
from kgspark.tables import MODEL, SEARCH_SPACE
from nights import a_night
from worlds.tastes import World, write_world

pytestmark = pytest.mark.slow

TRAINED, SERVED = "2026-01-02", "2026-01-03"
K = 5
# Ids below and above all others, so that every number changes.
NEW_USER, ANOTHER_USER, LOW_USER, LIKING_USER = 0, 90_001, 90_002, 90_004
# The first one has a genre; of the second one nothing is known but its likes.
NEW_MOVIE, BARE_MOVIE = 0, 90_003


def night_of(spark: Any, folder: Path, world: World, date: str, lake: str = "lake", **train: Any) -> Night:
    """A night of the world in `folder`; the first group is a segment of its own, with the two first new users."""
    members = ", ".join(map(str, [*world.groups[0][0], NEW_USER]))
    segments = {"first": {"users": f"user_id IN ({members})", "movies": "true"}}
    return a_night(
        folder / lake,
        spark,
        run_date=date,
        source={"path": str(folder / "source")},
        train={"dim": 8, "epochs": 4, "export": {"recent_share": 0.0}} | train,
        recommend={"k": K},
        audiences={"k": K},
        candidates={"segments": segments},
        publish={"beat_popularity": False},
        names={"users": "customers"},
    )


def serving(spark: Any, folder: Path, world: World, date: str, lake: str = "lake", **train: Any) -> Night:
    return night_of(spark, folder, world, date, lake, **{"epochs": 0, "warm_start": "latest"} | train)


def change_the_world(source: Path, world: World) -> None:
    """A user and a movie of the second group are gone; four users and two movies are new.

    Two of the new users like only a movie of which nothing is known, and one likes movies of the first group.
    """
    ratings, movies = read_csv(source / "ratings.csv"), read_csv(source / "movies.csv")
    gone_user, gone_movie = (str(ids[0]) for ids in world.groups[1])
    ratings = [row for row in ratings if row["userId"] != gone_user and row["movieId"] != gone_movie]
    first_movies, others = world.groups[0][1], world.groups[2][0]
    new = [(NEW_USER, BARE_MOVIE, 5.0), (ANOTHER_USER, BARE_MOVIE, 5.0)]
    new += [(LOW_USER, world.groups[2][1][0], 1.0)]
    new += [(LIKING_USER, movie, 5.0) for movie in first_movies[:3]]
    new += [(user, movie, 5.0) for user in others[:3] for movie in (NEW_MOVIE, BARE_MOVIE)]
    ratings += [
        {"userId": str(user), "movieId": str(movie), "rating": str(rating), "timestamp": "1500000000"}
        for user, movie, rating in new
    ]
    movies = [row for row in movies if row["movieId"] != gone_movie]
    movies.append({"movieId": str(NEW_MOVIE), "title": "New (1999)", "genres": "Drama"})
    movies.append({"movieId": str(BARE_MOVIE), "title": "Bare", "genres": "(no genres listed)"})
    write_csv(source / "ratings.csv", ratings)
    write_csv(source / "movies.csv", movies)


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


class Served:
    """The lake of a night that trains, one that serves its model in a changed world, and one that serves it again."""

    def __init__(self, spark: Any, folder: Path) -> None:
        self.spark, self.folder = spark, folder
        self.world = write_world(folder / "source", groups=3, users=12, movies=6)
        self.trained = night_of(spark, folder, self.world, TRAINED)
        nightly.run(self.trained)
        change_the_world(folder / "source", self.world)
        self.night = serving(spark, folder, self.world, SERVED)
        for stage in STAGES:  # one by one, as the command line runs them
            check_earlier_stages(self.night, stage)
            import_module(f"kgspark.stages.{stage}").run(self.night)
        self.ratings = [
            (int(row["userId"]), int(row["movieId"]), float(row["rating"]))
            for row in read_csv(folder / "source" / "ratings.csv")
        ]

    def seen(self, user: int) -> set[int]:
        return {movie for other, movie, _ in self.ratings if other == user}

    def likes(self, users: set[int] | None = None) -> Counter[int]:
        """The likes of each movie, of these users or of all."""
        of_users = [(user, movie) for user, movie, rating in self.ratings if rating >= 4]
        return Counter(movie for user, movie in of_users if users is None or user in users)


@pytest.fixture(scope="module")
def served(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Served:
    return Served(spark, tmp_path_factory.mktemp("served"))


def published(night: Night, table: str = "recommendations") -> dict[int, list[dict[str, Any]]]:
    """The rows of each list, by rank."""
    query, folder = ("user_id", "movie_id")[table == "audiences"], night.run.lake / "warehouse" / table
    rows = [
        row
        for path in sorted((folder / f"ds={night.run.date}").glob("*.parquet"))
        for row in pq.ParquetFile(path).read().to_pylist()
    ]
    lists: dict[int, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (row[query], row["rank"])):
        lists.setdefault(row[query], []).append(row)
    return lists


class ModelByIds:
    """TransE's scores from the file of the trained night alone, by the ids that it was trained with."""

    def __init__(self, night: Night) -> None:
        tables = load_file(str(night.run.table(MODEL) / MODEL_FILE))
        self.vectors, self.relation = tables["entity_emb"], tables["relation_emb"][0]
        entities = ds.dataset(sorted(night.run.table("entities").glob("*.parquet"))).to_table().to_pylist()
        self.rows = {(row["kind"], int(row["external_id"])): row["index"] for row in entities if row["kind"] in KINDS}
        self.movies = [number for kind, number in self.rows if kind == "movie"]

    def unit(self, kind: str, number: int) -> np.ndarray:
        vector = self.vectors[self.rows[kind, number]].astype(np.float64)
        return vector / np.linalg.norm(vector)

    def score(self, user: int, movie: int) -> float:
        return -float(np.linalg.norm(self.unit("user", user) + self.relation - self.unit("movie", movie)))


KINDS = ("user", "movie")


def test_known_users_get_the_lists_of_the_earlier_model_by_ids(served: Served) -> None:
    model, lists = ModelByIds(served.trained), published(served.night)
    gone_user, gone_movie = (ids[0] for ids in served.world.groups[1])
    users = [user for users, _ in served.world.groups for user in users if user != gone_user]
    movies = [movie for movie in model.movies if movie != gone_movie]
    assert set(lists) == {*users, NEW_USER, ANOTHER_USER, LOW_USER, LIKING_USER}
    for user in users:
        assert len(lists[user]) == K
        rows = [row for row in lists[user] if row["movie_id"] != NEW_MOVIE]
        unseen = [movie for movie in movies if movie not in served.seen(user)]
        best = sorted(unseen, key=lambda movie: (-model.score(user, movie), movie))
        assert [row["movie_id"] for row in rows] == best[: len(rows)]
        assert [row["score"] for row in rows] == pytest.approx([model.score(user, m) for m in best[: len(rows)]])
        assert {row["source"] for row in rows} == {"model"}
    assert not any(gone_movie == row["movie_id"] for rows in lists.values() for row in rows)


def test_a_movie_without_training_is_ranked_by_facts_or_not_at_all(served: Served) -> None:
    rows = [row for rows in published(served.night).values() for row in rows]
    assert {row["source"] for row in rows if row["movie_id"] == NEW_MOVIE} <= {"facts", "popular", "popular_in_segment"}
    assert {row["source"] for row in rows if row["movie_id"] == BARE_MOVIE} <= {"popular", "popular_in_segment"}
    audiences = published(served.night, "audiences")
    assert {row["source"] for row in audiences[BARE_MOVIE]} == {"average"}
    assert len(audiences[BARE_MOVIE]) == len(audiences[NEW_MOVIE]) == K


def test_a_user_without_training_gets_what_is_popular_in_the_segment(served: Served) -> None:
    lists, members = published(served.night), {*served.world.groups[0][0], NEW_USER}
    own, likes = served.likes(members), served.likes()
    movies = {movie for _, movie, _ in served.ratings} - served.seen(NEW_USER)
    order = sorted(movies, key=lambda m: (-own[m], -likes[m] if not own[m] else 0, m))[:K]
    assert [row["movie_id"] for row in lists[NEW_USER]] == order
    assert {row["source"] for row in lists[NEW_USER]} == {"popular_in_segment"}
    shares = [own[movie] / own.total() for movie in order]
    assert [row["score"] for row in lists[NEW_USER]] == pytest.approx(shares)
    assert {row["reason_movie_id"] for row in lists[NEW_USER]} == {None}


def test_a_user_with_likes_but_without_training_gets_what_such_users_get(served: Served) -> None:
    rows = published(served.night)[LIKING_USER]
    ranked = [row["movie_id"] for row in rows if row["source"] == "facts"]
    group = served.world.groups[0][1]
    assert set(ranked[: len(group) - 3]) == set(group[3:])
    assert {row["reason_movie_id"] for row in rows} <= set(group[:3])
    # NumPy alone has the same list, from the files of the night.
    top = FoldIn.open(served.night.run.folder).top(group[:3], k=len(ranked))
    assert [movie for movie, _ in top] == ranked
    assert [score for _, score in top] == pytest.approx([row["score"] for row in rows[: len(ranked)]], rel=1e-5)


def test_a_recommender_answers_with_popular_movies_and_segments_as_the_night(served: Served) -> None:
    for date in (TRAINED, SERVED):
        assert_answers_are_the_tables(served.night.run.lake, date)


def test_a_user_of_no_segment_gets_what_is_popular(served: Served) -> None:
    likes, row_of = served.likes(), published(served.night)
    movies = {movie for _, movie, _ in served.ratings} - served.seen(ANOTHER_USER)
    order = sorted(movies, key=lambda movie: (-likes[movie], movie))[:K]
    assert [(row["movie_id"], row["source"]) for row in row_of[ANOTHER_USER]] == [(m, "popular") for m in order]
    # A low rating is a fact, so this user has a vector.
    assert {row["source"] for row in row_of[LOW_USER]} == {"facts"}


def test_the_whole_night_has_nothing_to_add_to_the_stages_one_by_one(served: Served) -> None:
    night = serving(served.spark, served.folder, served.world, SERVED)
    nightly.run(night)
    assert not any(outcome.ran for outcome in night.outcomes)


def test_the_night_says_what_it_serves(served: Served) -> None:
    model, trained = (night.run.manifest(MODEL) for night in (served.night, served.trained))
    assert model.details["model_id"] == trained.details["model_id"]
    assert model.details["served"] == {"date": TRAINED, "trained": TRAINED, "new": {"user": 4, "movie": 2}}
    assert served.night.run.manifest("search_space").details["sources"] == {
        "queries": {"average": 2, "facts": 2, "model": 35},
        "items": {"average": 1, "facts": 1, "model": 17},
    }
    summaries = {outcome.stage: outcome.summary for outcome in served.night.outcomes}
    assert f"trained on {TRAINED}, served without training" in summaries["train-embeddings"]
    counts = "35 of 39 customers have its vectors (4 are new, 2 have one from likes or facts, 2 none)"
    assert counts in summaries["train-embeddings"]
    assert "popular movies for 2 customers without a vector" in summaries["recommend"]
    gate = served.night.run.manifest("published").details["gate"]
    assert gate["champion"] == {"date": TRAINED, "model_id": model.details["model_id"], "same_model": True}


def space_of(served: Served, date: str, warm_start: str, **settings: Any) -> SearchSpace:
    """The search space of a night of `date` on the tables of the served night."""
    lake = served.night.run.lake
    shutil.copytree(lake / "runs" / SERVED, lake / "runs" / date, dirs_exist_ok=True)
    night = serving(served.spark, served.folder, served.world, date, warm_start=warm_start, **settings)
    train_embeddings.run(night)
    assert night.run.manifest(MODEL).details["served"]["trained"] == TRAINED
    return SearchSpace.load(night.run.table(SEARCH_SPACE))


def test_a_served_model_is_served_again_with_the_same_vectors(served: Served) -> None:
    """Whether the trained night is there or not; who was new then does not count as trained in the meantime."""
    space = SearchSpace.load(served.night.run.table(SEARCH_SPACE))
    for warm_start in (TRAINED, SERVED, "latest"):
        again = space_of(served, "2026-01-04", warm_start)
        for name in ("queries", "items", "query_sources", "item_sources"):
            np.testing.assert_array_equal(getattr(again, name), getattr(space, name))
        assert again.model_id == space.model_id


@pytest.mark.parametrize(
    ("table", "field", "path", "key"),
    [
        ("triples", "settings", ("split", "seed"), "split.seed"),
        ("triples", "settings", ("relations", "liked", "where"), "relations.liked.where"),
        ("ratings", "details", ("id_type",), "source.ids"),
    ],
)
def test_likes_that_the_model_may_have_learned_do_not_measure_it(
    served: Served, table: str, field: str, path: tuple[str, ...], key: str
) -> None:
    """The trained night's split was another one, or its ids had another type, which have other hashes."""
    folder = served.trained.run.table(table)
    before = Manifest.read(folder)
    changed = copy.deepcopy(getattr(before, field))
    place = changed
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = "another"
    replace(before, **{field: changed}).write(folder)
    try:
        with pytest.raises(StageError, match=f"{key} has another value.*may have learned the likes that are held out"):
            space_of(served, "2026-01-05", TRAINED)
    finally:
        before.write(folder)


def test_vectors_of_another_numbering_are_still_refused(served: Served) -> None:
    night = serving(served.spark, served.folder, served.world, SERVED)
    rows = read_csv(served.folder / "source" / "ratings.csv")
    write_csv(served.folder / "source" / "ratings.csv", [row for row in rows if row["userId"] != str(NEW_USER)])
    for stage in ("clean_ratings", "index_entities", "write_triples"):
        import_module(f"kgspark.stages.{stage}").run(night)
    with pytest.raises(StageError, match="run train-embeddings again"):
        import_module("kgspark.stages.recommend").run(night)
