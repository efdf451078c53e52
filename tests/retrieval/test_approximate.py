"""Approximate indexes: found rows are scored exactly, no list is too short, and the recall is measured."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from kgspark.errors import ConfigError
from kgspark.graph.histories import Histories
from kgspark.retrieval.approximate import KINDS, Recall, approximate_top_k, build_approximate, load_approximate
from kgspark.retrieval.index import FlatIndex, build_index, load_index
from kgspark.retrieval.pool_files import load_pools, write_pools
from kgspark.retrieval.scores import score_pairs
from kgspark.retrieval.settings import IndexSettings, Kind
from kgspark.retrieval.topk import Ranking, top_k
from kgspark.search_space import ITEMS
from worlds.rankings import METRICS, random_world
from worlds.streams import save, stream, task

K = 20


def clustered(rows: int, seed: int, width: int = 16) -> np.ndarray:
    """Vectors around some centres, similar to trained ones."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((30, width))
    return (centres[rng.integers(0, 30, rows)] + 0.5 * rng.standard_normal((rows, width))).astype(np.float32)


def histories(rows: int, catalogue: int, seed: int) -> Histories:
    rng = np.random.default_rng(seed)
    sizes = np.minimum(rng.zipf(1.4, rows) - 1, catalogue)
    sizes[0] = catalogue - 3  # a user who has seen nearly everything
    chosen = [rng.permutation(catalogue)[:size] for size in sizes]
    return Histories.of(chosen)


def approximate(folder: Path, index: FlatIndex, settings: IndexSettings) -> Any:
    build_approximate(folder / "index.faiss", index, settings)
    return load_approximate(folder / "index.faiss")


def share_found(exact: Ranking, got: Ranking) -> float:
    recall = Recall()
    recall.count(exact, got)
    return recall.found / recall.listed


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_lists_are_as_long_as_exact_ones_unseen_in_order_and_nearly_as_good(tmp_path: Path, kind, metric) -> None:
    index = build_index(clustered(3000, 1), metric, 2.0)
    queries, seen = clustered(200, 2), histories(200, 3000, 3)
    settings = IndexSettings(kind=kind)
    got = approximate_top_k(index, approximate(tmp_path, index, settings), settings, queries, seen, K)
    exact = top_k(index, queries, seen, K)
    assert got.counts.tolist() == exact.counts.tolist()
    assert got.scores.tobytes() == score_pairs(index, queries, got.ids).tobytes()
    assert not seen.contains(got.ids).any()
    for ids, scores in zip(got.ids, got.scores, strict=True):
        kept = ids >= 0
        assert len(set(ids[kept])) == kept.sum()
        assert (np.lexsort((ids[kept], -scores[kept])) == np.arange(kept.sum())).all()
    assert share_found(exact, got) > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_rows_give_the_same_bytes(tmp_path: Path, kind: str) -> None:
    index = build_index(clustered(2000, 1), "inner_product", threads=2)
    for name in ("one", "two"):
        build_approximate(tmp_path / name, index, IndexSettings(kind=kind))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_search_that_finds_too_little_is_made_exact(tmp_path: Path) -> None:
    index = build_index(clustered(1200, 1), "l2")
    settings = IndexSettings(kind="ivf", cells=12, probes=1)
    queries, seen = clustered(40, 2), histories(40, 1200, 3)
    found_by = approximate(tmp_path, index, settings)
    got = approximate_top_k(index, found_by, settings, queries, seen, 900)  # more than any cell contains
    exact = top_k(index, queries, seen, 900)
    assert (got.ids == exact.ids).all()
    assert got.scores.tobytes() == exact.scores.tobytes()


def test_recall_is_counted_over_the_sample_alone(tmp_path: Path) -> None:
    world = random_world("inner_product", 52, users=100, k=10)
    assert len(world.space.items) > 1000
    ids = save(world, tmp_path)
    settings = IndexSettings(kind="ivf", cells=20, probes=1, refine=1, sample=15)
    index, pools = load_index(tmp_path, ITEMS), tmp_path / "pools"
    assert write_pools(pools, index, ITEMS, None, settings) == ["ivf"]
    asked = task(tmp_path, 10, queries=100, block=16, pools=str(pools), index=settings)
    assert asked.sample_every == 7  # 15 of the 100 queries
    recall = Recall()
    batches = list(asked.rank(iter(stream(world.seen, ids["queries"]).to_batches()), recall))
    exact = top_k(index, world.space.queries, world.seen, 10)
    found_by = load_pools(pools, index)[0].found_by
    got = approximate_top_k(index, found_by, settings, world.space.queries, world.seen, 10)
    assert sum(batch.num_rows for batch in batches) == got.counts.sum()
    pairs = [(set(e[e >= 0]), set(g)) for e, g in zip(exact.ids[::7], got.ids[::7], strict=True)]
    assert recall.listed == sum(len(wanted) for wanted, _ in pairs)
    assert recall.found == sum(len(wanted & found) for wanted, found in pairs)
    assert 0 < recall.found < recall.listed


def test_every_kind_of_the_settings_has_its_record() -> None:
    assert {"flat", *KINDS} == set(get_args(Kind))


def test_auto_goes_by_size_and_codes_must_fit(tmp_path: Path) -> None:
    settings = IndexSettings(kind="auto", flat_rows=2000)
    assert (settings.kind_for(2000), settings.kind_for(2001)) == ("flat", "ivf")
    assert [IndexSettings(kind=kind).kind_for(999) for kind in ("auto", *KINDS)] == ["flat"] * 4
    index = build_index(clustered(1000, 1), "l2")
    with pytest.raises(ConfigError, match=r"recommend\.index\.code_bytes: 5 does not divide the vectors' 16 numbers"):
        build_approximate(tmp_path / "index", index, IndexSettings(kind="pq", code_bytes=5))
