"""The rules on disk are those of the tables, and a ranking task obeys them alike for any cut of its stream."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kgspark.retrieval.index import load_index
from kgspark.retrieval.pool_files import write_pools
from kgspark.retrieval.rules.files import load_rules, write_rules
from kgspark.retrieval.rules.plan import RulePlan
from kgspark.retrieval.settings import IndexSettings
from worlds.rankings import random_world
from worlds.streams import ranked, save, stream, task

PLAN = RulePlan(("add", "multiply"), (2, 99), 0.7, 25, 0.2, 3, 5, "2026-01-02")


def _tables(folder: Path, movies: int, users: int) -> Path:
    """The tables rules, segments and candidates: even users are offered even movies, and two pinned ones come first."""
    rng = np.random.default_rng(3)
    positions = list(range(movies))
    groups = [[[f"{m % 7}"] if m % 3 else [], ["a", "b"][: 1 + m % 2]] for m in positions]
    rules: dict[str, Any] = {
        "movie_id": positions,
        "position": positions,
        "ratings": rng.integers(0, 9, movies).tolist(),
        "boosts": [[0.5 * (m % 3), 1 + m % 2] for m in positions],
        "groups": groups,
    }
    offered = [("even", m) for m in positions[::2]] + [("rest", m) for m in positions]
    places = {("even", 4): 2, ("even", 8): 1, ("rest", 5): 1}
    candidates = {
        "position": [m for _, m in offered],
        "segment": [segment for segment, _ in offered],
        "place": pa.array([places.get(pair) for pair in offered], pa.int32()),
    }
    segments = {"position": list(range(users)), "segment": [["even", "rest"][u % 2] for u in range(users)]}
    for name, columns in (("rules", rules), ("candidates", candidates), ("segments", segments)):
        (folder / name).mkdir(parents=True)
        table = pa.table(columns)
        # Rows in any order, in two files.
        for part, rows in enumerate(np.array_split(rng.permutation(len(table)), 2)):
            pq.write_table(table.take(pa.array(rows)), folder / name / f"part-{part}.parquet")
    return folder


def test_files_hold_what_the_tables_say(tmp_path: Path) -> None:
    placed = np.ones(30, bool)
    placed[7] = False
    write_rules(tmp_path / "out", PLAN, _tables(tmp_path, 30, 6), True, placed)
    rules = load_rules(tmp_path / "out")
    assert rules.plan == PLAN
    assert rules.boosts.addend.tolist() == [0.5 * (m % 3) for m in range(30)]
    assert rules.boosts.factor.tolist() == [1 + m % 2 for m in range(30)]
    assert [(each.movies.tolist(), each.users.tolist()) for each in rules.pins] == [
        ([8, 4], [0, 2, 4]),
        ([5], [1, 3, 5]),
    ]
    ratings = np.random.default_rng(3).integers(0, 9, 30)
    few = {m for m in range(30) if ratings[m] <= 3 and placed[m]}
    assert [set(each.movies.tolist()) for each in rules.draw.lists] == [few & set(range(0, 30, 2)), few]
    # At most two movies of a text of the first rule; the second rule's limit is never reached.
    counts = rules.caps.no_counts(1)
    taken = rules.caps.take(counts, np.arange(30)[None, :], np.array([30]))[0]
    of_text = {text: [m for m in range(30) if m % 3 and m % 7 == text] for text in range(7)}
    assert [set(np.flatnonzero(taken)) & set(movies) for movies in of_text.values()] == [
        set(movies[:2]) for movies in of_text.values()
    ]


def test_rows_by_rules_do_not_depend_on_blocks_batches_or_partitions(tmp_path: Path) -> None:
    world = random_world("l2", 20, users=40, largest=400, k=8)
    ids = save(world, tmp_path / "space")
    movies = len(world.space.items)
    tables = _tables(tmp_path / "tables", movies, 40)
    write_rules(tmp_path / "rules", PLAN, tables, True, world.space.item_sources > 0)
    index = load_index(tmp_path / "space", "items", 1)
    write_pools(tmp_path / "pools", index, "items", tables, IndexSettings(), world.space.item_sources > 0)

    def rows(rows: range | None = None, batch: int = 10**6, **more: Any) -> pa.Table:
        given = {"rules": str(tmp_path / "rules"), "pools": str(tmp_path / "pools"), "block": 1000} | more
        return ranked(
            stream(world.seen, ids["queries"], rows), task(tmp_path / "space", 8, **given), batch
        ).combine_chunks()

    whole = rows()
    assert set(whole["source"].to_pylist()) >= {"pinned", "explored", "model"}
    for block, batch in ((1, 1000), (7, 3)):
        assert rows(batch=batch, block=block).equals(whole)
    parts = [rows(range(0, 11)), rows(range(11, 40))]
    assert pa.concat_tables(parts).combine_chunks().equals(whole)
