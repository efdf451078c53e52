"""Popular movies for queries without a vector, and where the movies with vectors end; compared with brute force."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgspark.graph.histories import Histories
from kgspark.retrieval import popular
from kgspark.retrieval.index import load_index
from kgspark.retrieval.pool_files import write_pools
from kgspark.retrieval.popular import PopularList, load_popular, write_popular
from kgspark.retrieval.settings import IndexSettings
from kgspark.retrieval.space_recommender import SpaceRecommender
from kgspark.retrieval.topk import Ranking
from kgspark.search_space import ITEMS
from kgspark.tables import ROW_SOURCES, SOURCES
from worlds.rankings import World, random_world
from worlds.streams import ranked, save, stream, task

SEGMENTS = ("kids", "rest")
USERS, MOVIES, K = 40, 60, 12


def world_of(seed: int) -> World:
    """Some movies have no vector of their own, and neither have some users."""
    world = random_world("l2", seed, USERS, MOVIES + 1, K)
    return replace(world, seen=Histories.of([list(seen)[:40] for seen in world.seen_sets()]))


def tables(folder: Path, world: World, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Writes likes, segments and candidates; returns likes (2, M), segments (U,) and a mask (2, M) of the offered."""
    rng, movies = np.random.default_rng(seed), len(world.space.items)
    likes = rng.integers(0, 4, (2, movies))
    of_user, offered = rng.integers(0, 2, USERS), rng.random((2, movies)) < 0.7
    likes[0, : movies // 2] = 0
    columns = {
        "likes": {**pairs(likes > 0), "likes": likes[likes > 0]},
        "candidates": pairs(offered),
        "segments": {"segment": [SEGMENTS[s] for s in of_user], "position": np.arange(USERS)},
    }
    for name, of_table in columns.items():
        (folder / name).mkdir()
        pq.write_table(pa.table(of_table), folder / name / "part-00000.parquet")
    return likes, of_user, offered


def pairs(mask: np.ndarray) -> dict[str, object]:
    rows, columns = np.nonzero(mask)
    return {"segment": [SEGMENTS[row] for row in rows], "position": columns}


def best(world: World, user: int, of_segment: np.ndarray, likes: np.ndarray, offered: np.ndarray) -> list[tuple]:
    """Movie, source and score of the user's list, from the definition."""
    seen, sources = world.seen_sets()[user], (world.space.query_sources, world.space.item_sources)
    free = [m for m in range(len(likes)) if offered[m] and m not in seen]
    scores, rows = world.exact_scores()[user], []
    if sources[0][user]:
        by_vector = sorted((m for m in free if sources[1][m]), key=lambda m: (-scores[m], m))[:K]
        rows = [(m, SOURCES[min(sources[0][user], sources[1][m])], scores[m]) for m in by_vector]
    listed = {row[0] for row in rows}
    rest = [m for m in free if m not in listed]
    own = sorted((m for m in rest if of_segment[m]), key=lambda m: (-of_segment[m], m))
    others = sorted((m for m in rest if not of_segment[m]), key=lambda m: (-likes[m], m))
    return (rows + [(m, "popular_in_segment", None) for m in own] + [(m, "popular", None) for m in others])[:K]


@pytest.mark.parametrize("seed", [20, 24, 28, 32])
@pytest.mark.parametrize("restricted", [True, False])
def test_lists_are_filled_with_unseen_popular_movies(tmp_path: Path, seed: int, restricted: bool, monkeypatch) -> None:
    monkeypatch.setattr(popular, "_CELLS", 100)  # several steps
    world = world_of(seed)
    ids = save(world, tmp_path)
    likes, of_user, offered = tables(tmp_path, world, seed)
    candidates, folders = tmp_path if restricted else None, (tmp_path / "pools", tmp_path / "popular")
    placed = world.space.item_sources > 0
    write_pools(folders[0], load_index(tmp_path, ITEMS), ITEMS, candidates, IndexSettings(), placed)
    write_popular(folders[1], tmp_path / "likes", likes.shape[1], candidates, {"kids"})
    asked = task(tmp_path, K, block=16, pools=str(folders[0]), popular=str(folders[1]), reason_name="because")
    out = ranked(stream(world.seen, ids["queries"], liked=np.ones(len(world.seen.indices), bool)), asked).to_pylist()
    overall = likes.sum(axis=0)
    for user in range(USERS):
        kids = restricted and of_user[user] == 0
        may = offered[of_user[user]] if restricted else np.ones(len(overall), bool)
        wanted = best(world, user, likes[0] if kids else np.zeros_like(overall), overall, may)
        rows = [row for row in out if row["query_id"] == ids["queries"][user]]
        assert [row["item_id"] for row in rows] == [ids["items"][m] for m, _, _ in wanted]
        assert [row["source"] for row in rows] == [source for _, source, _ in wanted]
        scores = [row["score"] for row in rows]
        assert scores == sorted(scores, reverse=True)
        by_vector = [row["source"] in SOURCES for row in rows]
        assert [row["because"] is not None for row in rows] == [b and bool(world.seen_sets()[user]) for b in by_vector]
        # A liked movie without a vector of its own is a reason only if the user likes no other.
        having_vectors = {ids["items"][m] for m in world.seen_sets()[user] if placed[m]}
        reasons = {row["because"] for row in rows} - {None}
        assert reasons <= having_vectors or not having_vectors
        for row, (_, _, score) in zip(rows, wanted, strict=True):
            assert score is None or row["score"] == pytest.approx(score, rel=1e-5)


def test_scores_are_shares_of_likes_and_never_above_the_one_before() -> None:
    likes, of_segment = np.array([6, 0, 2, 2, 10]), np.array([0, 0, 1, 1, 0])
    found = PopularList.of(likes, of_segment, np.array([0, 1, 2, 3, 4]))
    assert found.movies.tolist() == [2, 3, 4, 0, 1]
    assert [ROW_SOURCES[source] for source in found.sources] == ["popular_in_segment"] * 2 + ["popular"] * 3
    assert found.scores.tolist() == pytest.approx([0.5, 0.5, 0.5, 0.3, 0.0])
    ranking = Ranking(np.array([[1, -1, -1]]), np.array([[-2.0, -np.inf, -np.inf]], np.float32), np.array([1]))
    found.fill(ranking, np.full((1, 3), 2, np.uint8), Histories.of([[2]]), np.array([0]))
    assert (ranking.ids.tolist(), ranking.scores.tolist()) == ([[1, 3, 4]], [[-2.0, -2.0, -2.0]])
    assert ranking.counts.tolist() == [3]


def test_lists_on_disk_are_mapped_and_equal(tmp_path: Path) -> None:
    (tmp_path / "likes").mkdir()
    pq.write_table(pa.table({"segment": ["rest"], "position": [1], "likes": [3]}), tmp_path / "likes" / "a.parquet")
    write_popular(tmp_path / "popular", tmp_path / "likes", 3, None, ())
    (found,) = load_popular(tmp_path / "popular")
    assert isinstance(found.movies, np.memmap)
    assert (found.movies.tolist(), found.scores.tolist(), found.users) == ([1, 0, 2], [1.0, 0.0, 0.0], None)


def test_a_movie_without_a_vector_of_its_own_has_no_score() -> None:
    world = world_of(20)
    scores = SpaceRecommender(world.space, 1).scores(np.arange(USERS))
    assert (np.isneginf(scores) == (world.space.item_sources == 0)).all()
