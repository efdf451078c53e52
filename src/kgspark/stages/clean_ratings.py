"""clean-ratings: source files to the tables ratings, movies, users, tags and quarantine."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from kgspark.errors import InputError
from kgspark.files import source_signature
from kgspark.night.night import Night
from kgspark.runs import Outcome, StageWork
from kgspark.spark.cleaning import side_tables as catalogue
from kgspark.spark.cleaning.accounts import Written, counted, reasons, stop_if_too_bad, summary, told, write_quarantine
from kgspark.spark.cleaning.dialects import Scale, Source, find_source
from kgspark.spark.cleaning.rating_rules import Rules, checked, good_ratings, resolve_scale
from kgspark.spark.cleaning.ratings import (
    Accounts,
    deduplication_tasks,
    has_integer_ids,
    header_count,
    latest,
    line_counts,
    read_raw,
)
from kgspark.spark.frames import DataFrame, read_table, write_table
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
    return night.stage(work, partial(_clean, source=source), _summary)


def _signatures(source: Source) -> dict[str, str]:
    return {name: source_signature([path]) for name, path in source.paths.items()}


def _clean(night: Night, work: StageWork, source: Source) -> None:
    id_type = "bigint" if has_integer_ids(night.spark, source, night.settings.source.columns) else "string"
    scale = resolve_scale(night.settings.clean, source.scale)
    folders = work.begin()
    written = _write_tables(night, source, id_type, scale, folders)
    lines = line_counts({name: table.raw for name, table in written.items()})
    cleaned = {name: counted(name, table, lines[name]) for name, table in written.items()}
    files = {name: table.files for name, table in written.items()}
    rejected = [table.rejected for table in cleaned.values() if table.rejected is not None]
    files[QUARANTINE] = write_quarantine(rejected, folders[QUARANTINE])

    found = reasons(read_table(night.spark, folders[QUARANTINE])) if rejected else {}
    accounts = {name: table.accounts(found.get(name, {})) for name, table in cleaned.items()}
    if _signatures(source) != work.inputs:
        raise InputError(f"{night.settings.source.path}: the source changed while it was read; run clean-ratings again")
    for name, counts in accounts.items():
        counts.check(name)
    limit = night.settings.clean.max_quarantined_share
    stop_if_too_bad(source.paths[RATINGS], accounts[RATINGS], limit, folders[QUARANTINE])
    if not accounts[RATINGS].kept:
        why = told(accounts[RATINGS].quarantined)
        raise InputError(f"{source.paths[RATINGS]}: no rating is left after cleaning: {why}")
    details: dict[str, Any] = {
        "format": source.format,
        "id_type": id_type,
        "scale": asdict(scale),
        "tables": sorted(files),
        "accounts": {name: asdict(counts) for name, counts in accounts.items()},
    }
    work.commit(files, {RATINGS: details})


def _rules(night: Night, id_type: str, scale: Scale) -> Rules:
    clean = night.settings.clean
    return Rules(id_type == "bigint", scale, clean.timestamp_min, clean.timestamp_max, clean.unknown_movies)


def _write_tables(
    night: Night, source: Source, id_type: str, scale: Scale, folders: Mapping[str, Path]
) -> dict[str, Written]:
    """Ratings need the movies; users and tags are cleaned beside them, so that no core waits for a plan."""
    with ThreadPoolExecutor(len(folders)) as pool:
        beside = {
            name: pool.submit(_write_beside, night, source, name, id_type, folders[name])
            for name in (MOVIES, USERS, TAGS)
            if name in folders
        }
        if MOVIES in beside:
            beside[MOVIES].result()
        movies = read_table(night.spark, folders[MOVIES]) if MOVIES in beside else None
        ratings = _write_ratings(night, source, _rules(night, id_type, scale), movies, folders[RATINGS])
        return {RATINGS: ratings} | {name: future.result() for name, future in beside.items()}


def _write_ratings(night: Night, source: Source, rules: Rules, movies: DataFrame | None, folder: Path) -> Written:
    path, layout = source.paths[RATINGS], source.layouts[RATINGS]
    raw = read_raw(night.spark, path, layout, night.settings.source.columns)
    good = good_ratings(raw, rules, movies)
    files = write_table(latest(good, rules.scale, deduplication_tasks(path)), folder)
    return Written(files, raw, checked(raw, rules, movies), header_count(path, layout))


def _write_beside(night: Night, source: Source, name: str, id_type: str, folder: Path) -> Written:
    """Cleans a table beside the ratings."""
    session, path, layout = night.spark, source.paths[name], source.layouts[name]
    required = {
        MOVIES: {"movie_id": id_type},
        USERS: {"user_id": id_type},
        TAGS: {"user_id": id_type, "movie_id": id_type, "tag": "string"},
    }[name]
    if layout is None:
        lines = catalogue.read_parquet_movies(session, path, night.settings.source.columns, id_type)
    else:
        lines = catalogue.read_table(session, path, layout, required)
    make = {MOVIES: catalogue.movies_table, USERS: catalogue.users_table, TAGS: catalogue.tags_table}[name]
    files = write_table(make(catalogue.good_rows(lines)), folder)
    return Written(files, lines, lines, header_count(path, layout))


def _summary(night: Night) -> str:
    details = night.run.manifest(RATINGS).details
    return summary({name: Accounts(**counts) for name, counts in details["accounts"].items()})
