"""clean-ratings: source files to the tables ratings, movies, users, tags and quarantine."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import reduce
from typing import Any

from kgspark.errors import InputError
from kgspark.files import DataFile, source_signature
from kgspark.runs import StageWork
from kgspark.spark import catalogue
from kgspark.spark.dialects import Source, find_source
from kgspark.spark.frames import DataFrame, empty, observe_sum, read_table, rows_frame, write_table
from kgspark.spark.ratings import (
    Accounts,
    Rules,
    checked,
    count_blocks,
    has_integer_ids,
    latest,
    quarantined,
    read_raw,
    resolve_scale,
)
from kgspark.stages.night import Night, Outcome
from kgspark.tables import MOVIES, QUARANTINE, RATINGS, TAGS, USERS

_QUARANTINE_SCHEMA = "file string, line bigint, reason string, raw string"
_BLOCK_SCHEMA = "file string, block bigint, lines bigint, first_row bigint"


def run(night: Night) -> Outcome:
    """Cleans the source unless its files and rules are as they were."""
    settings = night.settings
    source = find_source(settings.source)
    side_tables = [name for name in (MOVIES, USERS, TAGS) if name in source.paths]
    work = StageWork.plan(
        night.run,
        "clean-ratings",
        writes=(RATINGS, QUARANTINE, *side_tables),
        settings={"source": settings.source.model_dump(exclude={"tables", "path"}), "clean": settings.clean.model_dump()},
        sources={name: source_signature([path]) for name, path in source.paths.items()},
    )
    return night.stage(work, lambda work: _clean(night, source, work), lambda: _summary(night))


def _clean(night: Night, source: Source, work: StageWork) -> str:
    settings, session = night.settings, night.spark
    scale = resolve_scale(settings.clean, source.scale)
    integer_ids = has_integer_ids(session, source, settings.source.columns)
    id_type = "bigint" if integer_ids else "string"
    folders = work.begin()
    files: dict[str, list[DataFile]] = {}
    bad: list[DataFrame] = []
    for name in (MOVIES, USERS, TAGS):
        if name in folders:
            table, rejected = _side_table(night, source, name, id_type)
            files[name] = write_table(table, folders[name])
            bad += rejected

    rules = Rules(
        integer_ids, scale, settings.clean.timestamp_min, settings.clean.timestamp_max, settings.clean.unknown_movies
    )
    movies = read_table(session, folders[MOVIES]) if MOVIES in folders else None
    raw = read_raw(session, source.paths[RATINGS], source.layouts[RATINGS], settings.source.columns)
    lines = checked(raw, rules, movies)
    blocks = count_blocks(lines).collect()
    newest, copies = observe_sum(latest(lines, scale), "copies")
    files[RATINGS] = write_table(newest.drop("copies"), folders[RATINGS])
    if any(row["bad"] for row in blocks):
        splits = rows_frame(session, [row[:4] for row in blocks], _BLOCK_SCHEMA)
        bad.insert(0, quarantined(lines, splits))
    table = reduce(DataFrame.unionByName, bad) if bad else empty(session, _QUARANTINE_SCHEMA)
    files[QUARANTINE] = write_table(table.coalesce(1), folders[QUARANTINE])

    reasons = _reasons(read_table(session, folders[QUARANTINE])) if bad else {}
    ratings_file = {row["file"] for row in blocks}
    accounts = Accounts(
        lines=sum(row["lines"] for row in blocks),
        headers=sum(row["headers"] for row in blocks),
        kept=(kept := sum(file.rows or 0 for file in files[RATINGS])),
        superseded=int(copies()) - kept,
        quarantined=_of_files(reasons, ratings_file, inside=True),
    )
    accounts.check()
    _stop_if_too_bad(night, source, accounts, str(folders[QUARANTINE]))
    if not kept:
        raise InputError(f"{source.paths[RATINGS]}: no rating is left after cleaning: {_told(accounts)}")
    details: dict[str, Any] = {
        "format": source.format,
        "id_type": id_type,
        "scale": asdict(scale),
        "tables": sorted(files),
        "accounts": asdict(accounts),
        "side_quarantined": _of_files(reasons, ratings_file, inside=False),
    }
    work.commit(files, {RATINGS: details})
    return _summary(night)


def _side_table(night: Night, source: Source, name: str, id_type: str) -> tuple[DataFrame, list[DataFrame]]:
    """A table beside the ratings, and its bad lines where it has any."""
    session, path, layout = night.spark, source.paths[name], source.layouts[name]
    if layout is None:
        return catalogue.movies_table(catalogue.parquet_movies(session, path, night.settings.source.columns)), []
    ids = {MOVIES: ("movie_id",), USERS: ("user_id",), TAGS: ("user_id", "movie_id")}[name]
    rows = catalogue.read_table(session, path, layout, dict.fromkeys(ids, id_type))
    blocks = count_blocks(rows).collect()
    good = catalogue.good_rows(rows)
    make = {MOVIES: catalogue.movies_table, USERS: catalogue.users_table, TAGS: catalogue.tags_table}[name]
    if not any(row["bad"] for row in blocks):
        return make(good), []
    splits = rows_frame(session, [row[:4] for row in blocks], _BLOCK_SCHEMA)
    return make(good), [quarantined(rows, splits)]


def _reasons(table: DataFrame) -> dict[tuple[str, str], int]:
    counts = table.groupBy("file", "reason").count().collect()
    return {(row["file"], row["reason"]): row["count"] for row in counts}


def _of_files(reasons: Mapping[tuple[str, str], int], files: set[str], *, inside: bool) -> dict[str, int]:
    found: dict[str, int] = {}
    for (file, reason), count in sorted(reasons.items()):
        if (file in files) == inside:
            found[reason] = found.get(reason, 0) + count
    return found


def _stop_if_too_bad(night: Night, source: Source, accounts: Accounts, kept_at: str) -> None:
    limit = night.settings.clean.max_quarantined_share
    if accounts.quarantined_share > limit:
        raise InputError(
            f"{source.paths[RATINGS]}: {accounts.quarantined_share:.2%} of the lines are bad, and "
            f"clean.max_quarantined_share allows {limit:.2%}: {_told(accounts)}; they are listed in {kept_at}"
        )


def _told(accounts: Accounts) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in accounts.quarantined.items()) or "nothing quarantined"


def _summary(night: Night) -> str:
    """The exact sum: lines = kept + superseded + quarantined (+ headers)."""
    details = night.run.manifest(RATINGS).details
    accounts = Accounts(**details["accounts"])
    bad = sum(accounts.quarantined.values())
    text = f"{accounts.lines:,} lines = {accounts.kept:,} kept + {accounts.superseded:,} superseded + {bad:,} quarantined"
    if accounts.headers:
        text += f" + {accounts.headers:,} header"
    if bad:
        text += f" ({_told(accounts)})"
    side = details["side_quarantined"]
    if side:
        text += "; beside the ratings: " + ", ".join(f"{count:,} {reason}" for reason, count in side.items())
    return text
