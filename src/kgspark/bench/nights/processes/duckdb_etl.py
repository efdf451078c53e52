"""Makes the tables of clean-ratings, index-entities and write-triples from a MovieLens folder, with DuckDB.

python -m kgspark.bench.nights.processes.duckdb_etl SOURCE OUT THREADS SHARD_ROWS

The input must have no faults: there is no quarantine, and a line that cannot be read ends the run.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import duckdb

_PARQUET = "(format parquet, compression zstd)"
# The index of the relation watched_with.
_OF_LIKES = 4
# The limits of our default split between test, validation and train.
_VALID_FROM, _TRAIN_FROM = 0.15, 0.1925

_MOVIES = r"""
select movie_id, trim(title) as title,
    try_cast(nullif(regexp_extract(title, '\((\d{4})(?:[-–]\d{0,4})?\)\s*$', 1), '') as int) as year,
    list_filter(string_split(genres, '|'), lambda genre: trim(genre) <> '' and genre <> '(no genres listed)') as genres
from read_csv($source, header = true, auto_detect = false, quote = '"',
    columns = {movie_id: 'bigint', title: 'varchar', genres: 'varchar'})
"""
# The rating's number on the scale is in the lowest bits, below its time: the latest rating wins, then the higher one.
_RATINGS = """
select user_id, movie_id, (max(packed) & 15) / 2.0::double as rating, max(packed) >> 4 as timestamp
from (
    select user_id, movie_id, (timestamp << 4) + (rating * 2)::bigint as packed
    from read_csv($source, header = true, auto_detect = false,
        columns = {user_id: 'bigint', movie_id: 'bigint', rating: 'double', timestamp: 'bigint'})
    where user_id >= 0 and rating between 0.5 and 5.0 and rating * 2 = round(rating * 2)
        and timestamp between 0 and 4102444799 and movie_id in (select movie_id from read_parquet($movies))
)
group by user_id, movie_id
"""
_ENTITIES = """
create table entities as
select row_number() over (order by place, number, external_id) - 1 as index, place, number, external_id
from (
    select 0 as place, user_id as number, user_id::varchar as external_id
    from (select distinct user_id from read_parquet($ratings))
    union all select 1, movie_id, movie_id::varchar
    from (select movie_id from read_parquet($ratings) union select movie_id from read_parquet($movies))
    union all select 2, null, genre from (select distinct unnest(genres) as genre from read_parquet($movies))
    union all select 3, null, year::varchar
    from (select distinct year from read_parquet($movies) where year is not null)
)
"""
_NUMBERED = "select index, ['user', 'movie', 'genre', 'year'][place + 1] as kind, external_id from entities"
_TRIPLES = """
with rated as materialized (
    select user_id, movie_id, rating, timestamp,
        case when drawn < $valid_from then 'test' when drawn < $train_from then 'valid' else 'train' end as split
    from (select *, hash(42, user_id, movie_id) / 18446744073709551616.0 as drawn from read_parquet($ratings))
), followed as (
    select movie_id as one, unnest([lead(movie_id, 1) over later, lead(movie_id, 2) over later,
        lead(movie_id, 3) over later]) as other
    from rated where rating >= 4 and split = 'train'
    window later as (partition by user_id order by timestamp, movie_id)
), shared as materialized (
    select least(one, other) as one, greatest(one, other) as other, count(*) as users
    from followed where other is not null group by all having count(*) >= 3
)
select *, hash(head) % $shards as shard
from (
    select users.index as head, (rating < 4)::int as relation, movies.index as tail, split,
        (case when rating >= 4 then rating / 4 else 0 end)::float as weight, timestamp
    from rated
    join (select index, number from entities where place = 0) as users on rated.user_id = users.number
    join (select index, number from entities where place = 1) as movies on rated.movie_id = movies.number
    union all
    select movies.index, 2, genres.index, 'train', 0.1::float, null
    from (select movie_id, unnest(genres) as genre from read_parquet($movies)) as named
    join (select index, number from entities where place = 1) as movies on named.movie_id = movies.number
    join (select index, external_id from entities where place = 2) as genres on named.genre = genres.external_id
    union all
    select movies.index, 3, years.index, 'train', 0.1::float, null
    from read_parquet($movies) as named
    join (select index, number from entities where place = 1) as movies on named.movie_id = movies.number
    join (select index, external_id from entities where place = 3) as years on named.year::varchar = years.external_id
    union all
    select heads.index, 4, tails.index, 'train', (users / 60)::float, null
    from (select one, other, users from shared union all select other, one, users from shared) as pairs
    join (select index, number from entities where place = 1) as heads on pairs.one = heads.number
    join (select index, number from entities where place = 1) as tails on pairs.other = tails.number
    qualify row_number() over (partition by pairs.one order by users desc, pairs.other) <= 50
)
order by shard, relation, split, head, tail
"""
_COLUMNS = {
    "movies": "movie_id, title, year, genres",
    "ratings": "user_id, movie_id, rating, timestamp",
    "entities": "index, kind, external_id",
    "triples": "head, relation, tail, weight, timestamp",
}


def run(source: Path, out: Path, threads: int, shard_rows: int) -> dict[str, float]:
    """Writes movies, ratings, entities and triples as Parquet into the new folder `out`; returns seconds by stage.

    shard_rows  largest number of triples per shard, if every rating gave two triples as in our default configuration
    """
    out.mkdir()
    connection = duckdb.connect(config={"threads": threads, "temp_directory": str(out / "spilled")})
    files = {name: str(out / f"{name}.parquet") for name in ("movies", "ratings", "entities")}
    seconds = {}

    began = time.perf_counter()
    _copy(connection, _MOVIES, files["movies"], source=str(source / "movies.csv"))
    _copy(connection, _RATINGS, files["ratings"], source=str(source / "ratings.csv"), movies=files["movies"])
    seconds["clean"] = time.perf_counter() - began

    began = time.perf_counter()
    tables = {"ratings": files["ratings"], "movies": files["movies"]}
    connection.execute(_ENTITIES, tables)
    _copy(connection, f"{_NUMBERED} order by index", files["entities"])
    seconds["index"] = time.perf_counter() - began

    began = time.perf_counter()
    rows = _one(connection, "select count(*) from read_parquet($ratings)", ratings=files["ratings"])[0]
    split = {"shards": max(1, -(-2 * rows // shard_rows)), "valid_from": _VALID_FROM, "train_from": _TRAIN_FROM}
    partitioned = _PARQUET.replace(")", ", partition_by (shard))")
    connection.execute(f"copy ({_TRIPLES}) to '{out / 'triples'}' {partitioned}", tables | split)
    seconds["triples"] = time.perf_counter() - began
    return seconds


def differences(ours: Path, theirs: Path) -> list[str]:
    """The differences between two sets of tables, a night's folder and that of `run`; empty if they are equal.

    Numbers of rows and sums of their hashes are compared, so the order does not matter. DuckDB draws the held-out
    ratings by another hash, so the sizes of the splits need only agree within six standard deviations, and the number
    of pairs derived from the training likes within another two hundredths.
    """
    connection = duckdb.connect()
    found = []
    for name, columns in _COLUMNS.items():
        known = f"where relation <> {_OF_LIKES}" if name == "triples" else ""
        query = f"select count(*), sum(hash({columns})::hugeint) from read_parquet($files) {known}"
        mine, other = (_one(connection, query, files=files) for files in _files(ours, theirs, name))
        if mine != other:
            found.append(f"{name}: {mine[0]:,} rows against {other[0]:,}, checksums {mine[1]} and {other[1]}")
    query = "select relation, split, count(*) from read_parquet($files) group by all order by all"
    rows = [connection.execute(query, {"files": files}).fetchall() for files in _files(ours, theirs, "triples")]
    counts = [{row[:2]: row[2] for row in counted} for counted in rows]
    for key in sorted(counts[0].keys() | counts[1].keys()):
        one, two = (counted.get(key, 0) for counted in counts)
        if abs(one - two) > 6 * (one + two) ** 0.5 + 0.02 * (one + two) * (key[0] == _OF_LIKES):
            found.append(f"triples of relation {key[0]} in {key[1]}: {one:,} against {two:,}")
    return found


def _files(ours: Path, theirs: Path, name: str) -> tuple[str, str]:
    peer = theirs / name / "*" / "*.parquet" if name == "triples" else theirs / f"{name}.parquet"
    return str(ours / name / "*.parquet"), str(peer)


def _copy(connection: duckdb.DuckDBPyConnection, query: str, file: str, **parameters: Any) -> None:
    connection.execute(f"copy ({query}) to '{file}' {_PARQUET}", parameters)


def _one(connection: duckdb.DuckDBPyConnection, query: str, **parameters: Any) -> tuple[Any, ...]:
    row = connection.execute(query, parameters).fetchone()
    assert row is not None
    return row


if __name__ == "__main__":
    seconds = run(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    print(json.dumps({"seconds": seconds}))
