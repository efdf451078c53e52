"""clean-ratings: source files to the tables ratings, movies, users, tags and quarantine."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import reduce
from pathlib import Path
from typing import Any

from kgspark.errors import InputError
from kgspark.files import DataFile, source_signature
from kgspark.runs import StageWork
from kgspark.spark import catalogue
from kgspark.spark.dialects import Source, find_source
from kgspark.spark.frames import DataFrame, empty, read_table, rows_frame, write_table
from kgspark.spark.ratings import (
    BLOCK_SCHEMA,
    QUARANTINE_SCHEMA,
    Accounts,
    Rules,
    checked,
    count_blocks,
    has_integer_ids,
    header_count,
    latest,
    quarantined,
    read_raw,
    resolve_scale,
    row_count,
)
from kgspark.stages.night import Night, Outcome
from kgspark.tables import MOVIES, QUARANTINE, RATINGS, TAGS, USERS


def run(night: Night) -> Outcome:
    """Cleans the source unless its files and rules are as they were."""
    settings = night.settings
    source = find_source(settings.source)
    side_tables = [name for name in (MOVIES, USERS, TAGS) if name in source.paths]
    work = StageWork.plan(
        night.run,
        "clean-ratings",
        writes=(RATINGS, QUARANTINE, *side_tables),
        settings={
            "source": settings.source.model_dump(exclude={"tables", "path"}),
            "clean": settings.clean.model_dump(),
        },
        sources=_signatures(source),
    )
    return night.stage(work, lambda work: _clean(night, source, work), lambda: _summary(night))


def _signatures(source: Source) -> dict[str, str]:
    return {name: source_signature([path]) for name, path in source.paths.items()}


def _clean(night: Night, source: Source, work: StageWork) -> str:
    settings, session = night.settings, night.spark
    scale = resolve_scale(settings.clean, source.scale)
    id_type = "bigint" if has_integer_ids(session, source, settings.source.columns) else "string"
    folders = work.begin()
    files: dict[str, list[DataFile]] = {}
    bad: list[DataFrame] = []
    for name in (MOVIES, USERS, TAGS):
        if name in folders:
            files[name], rejected = _write_side_table(night, source, name, id_type, folders[name])
            bad += rejected

    rules = Rules(
        id_type == "bigint",
        scale,
        settings.clean.timestamp_min,
        settings.clean.timestamp_max,
        settings.clean.unknown_movies,
    )
    movies = read_table(session, folders[MOVIES]) if MOVIES in folders else None
    raw = read_raw(session, source.paths[RATINGS], source.layouts[RATINGS], settings.source.columns)
    lines = checked(raw, rules, movies)
    files[RATINGS] = write_table(latest(lines, scale), folders[RATINGS])
    kept = sum(file.rows or 0 for file in files[RATINGS])
    counted = {
        "lines": row_count(raw),
        "headers": header_count(source.paths[RATINGS], source.layouts[RATINGS]),
        "bad": 0,
    }
    if counted["lines"] - counted["headers"] != kept:
        # Every kept row stands for a line or more, so only now can some be bad, or superseded.
        blocks = count_blocks(lines).collect()
        counted = {name: sum(row[name] for row in blocks) for name in counted}
        if counted["bad"]:
            bad += [quarantined(lines, rows_frame(session, [row[:4] for row in blocks], BLOCK_SCHEMA))]
    table = reduce(DataFrame.unionByName, bad) if bad else empty(session, QUARANTINE_SCHEMA)
    files[QUARANTINE] = write_table(table.repartition(1).sortWithinPartitions("file", "line"), folders[QUARANTINE])

    reasons = _reasons(read_table(session, folders[QUARANTINE])) if bad else {}
    names = _file_names(source.paths[RATINGS])
    accounts = Accounts(
        lines=counted["lines"],
        headers=counted["headers"],
        kept=kept,
        superseded=counted["lines"] - counted["headers"] - counted["bad"] - kept,
        quarantined=_of_files(reasons, names, inside=True),
    )
    accounts.check()
    if _signatures(source) != work.inputs:
        raise InputError(f"{night.settings.source.path}: the source changed while it was read; run clean-ratings again")
    _stop_if_too_bad(night, source, accounts, str(folders[QUARANTINE]))
    if not kept:
        raise InputError(f"{source.paths[RATINGS]}: no rating is left after cleaning: {_told(accounts)}")
    details: dict[str, Any] = {
        "format": source.format,
        "id_type": id_type,
        "scale": asdict(scale),
        "tables": sorted(files),
        "accounts": asdict(accounts),
        "side_quarantined": _of_files(reasons, names, inside=False),
    }
    work.commit(files, {RATINGS: details})
    return _summary(night)


def _file_names(path: Path) -> set[str]:
    return {file.name for file in path.rglob("*")} if path.is_dir() else {path.name}


def _write_side_table(
    night: Night, source: Source, name: str, id_type: str, folder: Path
) -> tuple[list[DataFile], list[DataFrame]]:
    """Writes a table beside the ratings; returns its files, and its bad lines where it has any."""
    session, path, layout = night.spark, source.paths[name], source.layouts[name]
    if layout is None:
        movies = catalogue.parquet_movies(session, path, night.settings.source.columns)
        return write_table(catalogue.movies_table(movies), folder), []
    required = {
        MOVIES: {"movie_id": id_type},
        USERS: {"user_id": id_type},
        TAGS: {"user_id": id_type, "movie_id": id_type, "tag": "string"},
    }[name]
    rows = catalogue.read_table(session, path, layout, required)
    make = {MOVIES: catalogue.movies_table, USERS: catalogue.users_table, TAGS: catalogue.tags_table}[name]
    files = write_table(make(catalogue.good_rows(rows)), folder)
    if sum(file.rows or 0 for file in files) == row_count(rows) - header_count(path, layout):
        return files, []
    blocks = count_blocks(rows).collect()
    if not any(row["bad"] for row in blocks):
        return files, []
    return files, [quarantined(rows, rows_frame(session, [row[:4] for row in blocks], BLOCK_SCHEMA))]


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
    text = (
        f"{accounts.lines:,} lines = {accounts.kept:,} kept + {accounts.superseded:,} superseded + {bad:,} quarantined"
    )
    if accounts.headers:
        text += f" + {accounts.headers:,} header"
    if bad:
        text += f" ({_told(accounts)})"
    side = details["side_quarantined"]
    if side:
        text += "; beside the ratings: " + ", ".join(f"{count:,} {reason}" for reason, count in side.items())
    return text
