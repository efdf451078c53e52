"""DuckDB's tables of a small world; the comparison notices a single changed value in one of them."""

import shutil
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from kgspark.bench.nights.processes.duckdb_etl import differences, run

RATINGS = """user_id,movie_id,rating,timestamp
7,20,4.0,100
7,20,2.5,200
7,20,3.0,200
9,10,5.0,50
9,99,5.0,50
"""
MOVIES = 'movie_id,title,genres\n20,"One, Two (1999)",Drama|Crime\n10, Three ,(no genres listed)\n'


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    (tmp_path / "ratings.csv").write_text(RATINGS)
    (tmp_path / "movies.csv").write_text(MOVIES)
    run(tmp_path, tmp_path / "out", 2, 1)
    return tmp_path / "out"


def _rows(path: Path) -> list[tuple[object, ...]]:
    return sorted(tuple(row.values()) for row in pq.ParquetDataset(path, partitioning=None).read().to_pylist())


def test_the_latest_rating_of_known_movies_and_an_index_by_kind_and_id(tables: Path) -> None:
    assert _rows(tables / "ratings.parquet") == [(7, 20, 3.0, 200), (9, 10, 5.0, 50)]
    movies = [(10, "Three", None, []), (20, "One, Two (1999)", 1999, ["Drama", "Crime"])]
    assert _rows(tables / "movies.parquet") == movies
    names = ["user 7", "user 9", "movie 10", "movie 20", "genre Crime", "genre Drama", "year 1999"]
    assert [f"{kind} {name}" for _, kind, name in _rows(tables / "entities.parquet")] == names
    triples = [
        (head, relation, tail, round(weight, 6)) for head, relation, tail, _, weight, _ in _rows(tables / "triples")
    ]
    assert triples == [(0, 1, 3, 0.0), (1, 0, 2, 1.25), (3, 2, 4, 0.1), (3, 2, 5, 0.1), (3, 3, 6, 0.1)]


def test_movies_liked_shortly_after_each_other_are_pairs(tmp_path: Path) -> None:
    """Forty users like six movies in turn, each from another start: pairs by brute force over the likes in train."""
    likes = [(user, (user + place) % 6, 4.0, place) for user in range(40) for place in range(6)]
    rows = ["user_id,movie_id,rating,timestamp", *(",".join(map(str, like)) for like in likes)]
    (tmp_path / "ratings.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "movies.csv").write_text("movie_id,title,genres\n" + "".join(f"{i},M,A\n" for i in range(6)))
    run(tmp_path, tmp_path / "out", 2, 1_000)
    triples = _rows(tmp_path / "out" / "triples")
    in_time: dict[object, list[tuple[object, object]]] = defaultdict(list)
    for head, relation, tail, split, _, timestamp in triples:
        if (relation, split) == (0, "train"):
            in_time[head].append((timestamp, tail))
    shared = Counter(
        pair
        for own in in_time.values()
        for at, (_, one) in enumerate(sorted(own))
        for _, other in sorted(own)[at + 1 : at + 4]
        for pair in ((one, other), (other, one))
    )
    found = {(head, tail): weight for head, relation, tail, _, weight, _ in triples if relation == 4}
    assert found == pytest.approx({pair: users / 60 for pair, users in shared.items() if users >= 3})
    assert len(found) > 20


@pytest.mark.parametrize(
    ("table", "column"), [("ratings", "timestamp"), ("movies", "year"), ("entities", "index"), ("triples", "tail")]
)
def test_a_changed_value_is_found(tables: Path, tmp_path: Path, table: str, column: str) -> None:
    ours = tmp_path / "ours"
    for name in ("ratings", "movies", "entities"):
        (ours / name).mkdir(parents=True)
        shutil.copy(tables / f"{name}.parquet", ours / name)
    (ours / "triples").mkdir()
    for number, path in enumerate(sorted((tables / "triples").rglob("*.parquet"))):
        shutil.copy(path, ours / "triples" / f"{number}.parquet")
    assert differences(ours, tables) == []
    file = min((ours / table).iterdir())
    content = pq.read_table(file, partitioning=None)
    changed = pc.add(content[column], pa.scalar(1, content[column].type))
    pq.write_table(content.set_column(content.schema.get_field_index(column), column, changed), file)
    told = differences(ours, tables)
    assert len(told) == 1
    assert told[0].startswith(f"{table}: ")
