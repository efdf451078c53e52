"""clean-ratings: source files to the tables ratings, movies, users, tags, quarantine, seen and refused_pairs."""

import datetime
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from kgspark.errors import InputError
from kgspark.names import Names
from kgspark.night.day import first_second
from kgspark.night.night import Night
from kgspark.runs import Outcome, StageWork, as_written
from kgspark.spark.cleaning.accounts import (
    Accounts,
    WrittenTable,
    check_ratings,
    count_and_quarantine,
    format_accounts,
)
from kgspark.spark.cleaning.basis import Basis, EarlierNight, basis_of, open_earlier
from kgspark.spark.cleaning.clean_tables import write_clean_tables
from kgspark.spark.cleaning.events import events_of
from kgspark.spark.cleaning.hints import collect_genre_hint, collect_hint, collect_time_hint
from kgspark.spark.cleaning.last_night import check_size, last_night
from kgspark.spark.cleaning.rating_rules import Limits, rating_columns, resolve_scale, seen_reasons
from kgspark.spark.cleaning.ratings import has_integer_ids, read_rating_texts
from kgspark.spark.cleaning.seen import write_seen
from kgspark.spark.cleaning.settings import Location
from kgspark.spark.cleaning.source.dialects import (
    Source,
    find_tables,
    own_columns,
    own_locations,
    read_layouts,
    required_columns,
)
from kgspark.spark.cleaning.source.file_accounts import SourceFile, format_unfinished, unfinished_lines
from kgspark.spark.cleaning.source.files import SourceFiles, format_skipped
from kgspark.spark.cleaning.source.first_ids import check_first_ids
from kgspark.spark.cleaning.source.lines import of_file
from kgspark.spark.cleaning.source.spark_tables import copy_table, is_content, table_version
from kgspark.spark.cleaning.time_units import collect_unit, known_unit
from kgspark.spark.cleaning.worst_file import WorstFile, find_worst_file
from kgspark.spark.frames import READ_HERE, read_table
from kgspark.spark.stored import reads_objects
from kgspark.tables import MOVIES, QUARANTINE, RATINGS, REFUSED_PAIRS, SEEN, TAGS, USERS


def run(night: Night) -> Outcome:
    """Cleans the source unless its files and rules are unchanged."""
    given = night.settings.source
    spark_tables = {name: place for name, place in own_locations(given).items() if place[1].by_spark}
    tables = find_tables(given, lake=night.run.lake)
    work = StageWork.plan(
        night.run,
        "clean-ratings",
        writes=(
            *(RATINGS, QUARANTINE, SEEN, REFUSED_PAIRS),
            *[name for name in (MOVIES, USERS, TAGS) if name in tables or name in spark_tables],
        ),
        settings=stage_settings(night),
        sources=_signatures(tables) | _present_versions(night, spark_tables),
    )
    return night.stage(work, partial(_clean, tables=tables, spark_tables=spark_tables), _summary)


def _signatures(tables: Mapping[str, SourceFiles]) -> dict[str, str]:
    return {name: files.signature for name, files in tables.items()}


def _present_versions(night: Night, spark_tables: Mapping[str, tuple[str, Location]]) -> dict[str, str]:
    """Versions of the tables that Spark opens; empty if it is only known afterwards, so that they are read."""
    return {name: table_version(night.spark, place, key) or "" for name, (key, place) in spark_tables.items()}


def stage_settings(night: Night) -> dict[str, Any]:
    """The settings that the clean tables depend on."""
    settings = night.settings
    return {
        "source": settings.source.model_dump(exclude={"tables"}),
        "clean": settings.clean.model_dump(exclude={"incremental"}),
    }


@dataclass(frozen=True)
class _Reading:
    """How the source is read tonight, and the basis that this is for; `reading` is what the manifest says of it."""

    source: Source
    limits: Limits
    reading: Mapping[str, Any]
    basis: Basis


def _clean(
    night: Night,
    work: StageWork,
    tables: Mapping[str, SourceFiles],
    spark_tables: Mapping[str, tuple[str, Location]],
) -> None:
    folders = work.begin()
    with ExitStack() as stack:
        if spark_tables:
            copies = stack.enter_context(_copied_tables(night, work, spark_tables))
            tables = {**tables, **copies}
            work = replace(work, sources={**work.sources, **_signatures(copies)})
            if work.is_current():  # tables without a version were read anew, and have the same rows as before
                work.remove_remains()
                return
        earlier = None
        if night.settings.clean.incremental and RATINGS not in spark_tables:
            earlier = stack.enter_context(open_earlier(night.run))
        read = partial(_read, night, work, tables, earlier)
        _clean_onto(_read_new(read, earlier, tables) or read(unread={}), night, work, folders, read)


def _read_new(
    read: Callable[..., _Reading], earlier: EarlierNight | None, tables: Mapping[str, SourceFiles]
) -> _Reading | None:
    """The reading by the files that are to be fetched, if the earlier night, which has read the others, fits it.

    Otherwise None, so that all files are read: also if these files alone cannot be.
    """
    unread = earlier.unread(tables) if earlier is not None else {}
    if not unread:
        return None
    try:
        found = read(unread=unread)
    except InputError:
        return None
    return found if unread.keys() <= found.basis.tables.keys() else None


def _read(
    night: Night,
    work: StageWork,
    tables: Mapping[str, SourceFiles],
    earlier: EarlierNight | None,
    unread: Mapping[str, Collection[str]],
) -> _Reading:
    source = read_layouts(night.settings.source, tables, unread, whole=not _reads_large_objects(night, tables))
    check_first_ids(night.settings.source, source)  # before Spark starts
    layout, limits = source.layouts[RATINGS], _limits(night, source)
    cut = []
    if layout is not None:
        cut = unfinished_lines(source.files[RATINGS], layout, night.settings.clean.unfinished_last_line)
    layouts = {name: None if layout is None else asdict(layout) for name, layout in source.layouts.items()}
    # `until` differs from night to night, and changes no row that was before it.
    types = {name: parquet.groups for name, parquet in source.parquet.items() if name == RATINGS}
    limited = asdict(replace(limits, until=None))
    columns = rating_columns(limits)
    reading = as_written({"limits": limited, "layouts": layouts, "types": types, "columns": columns})
    source = replace(source, files=tables, unread=unread, unfinished=cut)
    return _Reading(source, limits, reading, basis_of(night.spark, earlier, source, work.settings, reading))


def _reads_large_objects(night: Night, tables: Mapping[str, SourceFiles]) -> bool:
    """True if executors read the objects of the source themselves, so that this machine needs no whole copies."""
    in_store = [files for files in tables.values() if files.fetched is not None]
    large = any(files.bytes > READ_HERE for files in in_store)
    return large and reads_objects(night.spark, night.run.lake)


@contextmanager
def _copied_tables(
    night: Night, work: StageWork, spark_tables: Mapping[str, tuple[str, Location]]
) -> Iterator[dict[str, SourceFiles]]:
    """The copies of the tables that Spark opens; at the end they are removed."""
    columns, folder = own_columns(night.settings.source), work.staging / "source"
    try:
        yield {
            name: copy_table(night.spark, place, key, columns[name], required_columns(columns[name]), folder / name)
            for name, (key, place) in spark_tables.items()
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _clean_onto(
    found: _Reading, night: Night, work: StageWork, folders: Mapping[str, Path], read: Callable[..., _Reading]
) -> None:
    source, limits = found.source, found.limits
    written, basis = write_clean_tables(
        night.spark, source, limits, folders, found.basis, whole=lambda: read(unread={}).source
    )
    ratings = written[RATINGS]
    accounts, quarantine = count_and_quarantine(night.spark, written, folders[QUARANTINE])
    copies = {name: files for name, files in source.files.items() if files.version}
    if _signatures(find_tables(night.settings.source, copies, night.run.lake)) != work.sources:
        raise InputError(f"{night.settings.source.path}: the source changed while it was read; run clean-ratings again")
    for name, counts in accounts.items():
        counts.check(name)
    worst_file = _check_ratings(night, source, written, accounts, folders)
    _check_size(night, source, accounts[RATINGS].kept, folders[RATINGS], basis)
    reasons = set(seen_reasons()) & set(accounts[RATINGS].quarantined) if night.settings.clean.refused_are_seen else ()
    seen = write_seen(night.spark, ratings.checked, basis.pairs, reasons, limits.id_type, folders)
    files = {name: table.files for name, table in written.items()} | {QUARANTINE: quarantine} | seen
    keys = own_locations(night.settings.source)
    details: dict[str, Any] = {
        "format": source.format,
        "id_type": limits.id_type,
        "scale": asdict(limits.scale),
        "reading": found.reading,
        "tables": sorted(files),
        "accounts": {name: asdict(counts) for name, counts in accounts.items()},
        "source_files": {name: [asdict(file) for file in table.all_read] for name, table in written.items()},
        "skipped": {name: dict(table.source.skipped) for name, table in written.items()},
        "read_anew": [keys[name][0] for name, files in copies.items() if is_content(files.version)],
        "hints": _hints(night, source, folders),
        "worst_file": worst_file,
        "basis": {
            "date": basis.date,
            "unfit": basis.unfit,
            "files": len(ratings.read),
            "lines": sum(file.lines - file.headers for file in ratings.read),
        },
    }
    work.commit(files, {RATINGS: details})


def _check_ratings(
    night: Night,
    source: Source,
    written: Mapping[str, WrittenTable],
    accounts: Mapping[str, Accounts],
    folders: Mapping[str, Path],
) -> str:
    """InputError if too many ratings are bad. Otherwise a text about the worst of the files that were read.

    The text is empty if no file that was read has more bad lines than the night may have.
    """
    ratings, limit = written[RATINGS], night.settings.clean.max_quarantined_share
    new = {name: counts.since(written[name].earlier_accounts) for name, counts in accounts.items()}
    worst = None
    if new[RATINGS].bad:
        worst = find_worst_file(read_table(night.spark, folders[QUARANTINE]), ratings.read, limit)
    explain = partial(_explain, ratings, worst, new.get(MOVIES), night.settings.names)
    check_ratings(source.paths[RATINGS], accounts[RATINGS], new[RATINGS], limit, folders[QUARANTINE], explain)
    return explain() if worst is not None and worst.bad > limit * worst.lines else ""


def _explain(ratings: WrittenTable, worst: WorstFile | None, movies: Accounts | None, names: Names) -> str:
    """Which file is the worst, if there are several, and what its bad values look like; empty if no line is bad."""
    if worst is None or ratings.checked is None:
        return ""
    lines = of_file(ratings.checked, ratings.source.root / worst.name)
    hint = collect_hint(lines, worst.lines, worst.quarantined, movies, names)
    return "; ".join(filter(None, (str(worst) if len(ratings.all_read) > 1 else "", hint)))


def _check_size(night: Night, source: Source, rows: int, folder: Path, basis: Basis) -> None:
    least, intact = night.settings.clean.min_share_of_last_night, basis.date if basis.ratings is not None else ""
    if not least:
        return
    last = last_night(night.run, intact)
    if last is None or last.date == intact:
        return  # no rating, user or movie of the last night is gone
    check_size(night.spark, source.paths[RATINGS], rows, folder, last, least, night.settings.names)


def _hints(night: Night, source: Source, folders: Mapping[str, Path]) -> list[str]:
    """Sentences about kept values that look as if they were read by a wrong setting."""
    given = night.settings.source
    hints = [collect_time_hint(read_table(night.spark, folders[RATINGS]), given.timestamp_unit)]
    if not given.has_times:
        hints.append(
            "no rating has a time, so nothing is cut at run_date, and there is no trend, no history and no co_watched"
        )
    if source.format in ("table", "spark") and MOVIES in folders:
        movies = read_table(night.spark, folders[MOVIES])
        hints.append(collect_genre_hint(movies, given.genre_separator, night.settings.names))
    return list(filter(None, hints))


def _limits(night: Night, source: Source) -> Limits:
    clean, given = night.settings.clean, night.settings.source
    events = events_of(given)
    limits = Limits(
        integer_ids=has_integer_ids(source),
        scale=resolve_scale(clean, source.scale if events is None else events.scale),
        times=(clean.timestamp_min, clean.timestamp_max),
        unknown_movies=clean.unknown_movies,
        null_texts=given.null_texts,
        timezone=given.timezone,
        whole_seconds=not given.has_own_columns,
        has_times=given.has_times,
        until=first_second(datetime.date.fromisoformat(night.run.date) + datetime.timedelta(1), given.timezone),
        decimal=given.decimal,
        genre_separator=given.genre_separator,
        events=events,
        repeated=clean.repeated or ("latest" if events is None and given.has_times else "strongest"),
    )
    unit = known_unit(given, source)
    if unit is None:
        unit = collect_unit(read_rating_texts(night.spark, source, limits), clean.max_quarantined_share)
    return replace(limits, unit=unit)


def _summary(night: Night) -> str:
    details = night.run.manifest(RATINGS).details
    ratings = [SourceFile(**file) for file in details["source_files"][RATINGS]]
    told = [
        format_accounts({name: Accounts(**counts) for name, counts in details["accounts"].items()}),
        format_unfinished(ratings),
        *[format_skipped(skipped) for skipped in details["skipped"].values()],
        *details["hints"],
        details["worst_file"],
        *[f"{key} has no version, so each call reads it anew" for key in details["read_anew"]],
        night.settings.names.fill(_told_of_basis(details)),
    ]
    return "; ".join(filter(None, told))


def _told_of_basis(details: Mapping[str, Any]) -> str:
    """What was read anew on the basis of an earlier night, or why all was; empty if there was no earlier night."""
    basis = details["basis"]
    if basis["unfit"]:
        return f"all files are cleaned, because {basis['unfit']}"
    if not basis["date"]:
        return ""
    files = len(details["source_files"][RATINGS])
    return f"{basis['files']:,} of {files:,} files are new ({basis['lines']:,} lines), the others as on {basis['date']}"
