"""The text of a configuration for what a look at tables found, with a comment on each value."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from kgspark.inspection.findings import Findings
from kgspark.inspection.relations import relation_lines, sql_name
from kgspark.inspection.tables import Table
from kgspark.inspection.values import numbers, present
from kgspark.inspection.yaml_text import line, or_else, plain, relative

_AUTO_SEPARATORS = (",", ";", "\t", "|")


def configuration(found: Findings, folder: Path, name: str, notes: Sequence[str] = ()) -> str:
    """The text of a file in `folder`.

    name   of the file, for the command in its heading
    notes  further comments for the heading
    """
    lines = [
        f"# Written by `kgspark init` after a look at the first {found.ratings.sample.rows:,} rows of "
        f"{found.ratings.path.name}. Check the comments, then run",
        f"#   kgspark nightly {name}",
        "# Paths are relative to this file. `kgspark settings KEY` explains a key; docs/own-data.md has all rules.",
        *[f"# {note}" for note in notes],
        "lake: lake",
        "source:",
        *_source(found, folder),
        *_clean(found),
        *relation_lines(found),
    ]
    return "\n".join(lines) + "\n"


def movielens_configuration(path: str, dialect: str, folder: Path) -> str:
    """The text of a file in `folder` for a data set of MovieLens."""
    return (
        f"# MovieLens, in the format {dialect}: its files say the rest. Run `kgspark nightly` with this file.\n"
        "# Paths are relative to this file. `kgspark settings KEY` explains a key.\n"
        f"lake: lake\nsource:\n  path: {plain(relative(Path(path), folder))}\n"
    )


def _source(found: Findings, folder: Path) -> Iterator[str]:
    sample, ratings = found.ratings.sample, found.ratings
    yield line("  path", relative(ratings.path, folder), f"{_files(ratings)}{', '.join(sample.columns)}")
    yield line("  format", "table", "CSV, Parquet or JSON lines, with columns of your own")
    if sample.kind == "csv":
        yield from _text_format(found)
    if found.ids == "string":
        yield line("  ids", "string", f"ids are text, such as {found.example!r}")
    else:
        yield line("  ids", "integer", f"all ids of the first {sample.rows:,} rows are whole numbers; string takes any")
    yield from _columns(found)
    yield from _times(found)
    if found.decimal == ",":
        yield line("  decimal", ",", "ratings have a decimal comma")
    if found.events:
        yield "  # What an event of each type is worth. A type that is missing here is refused; null leaves it out."
        yield f"  events: {plain(found.events)}"
    yield from _items(found, folder)
    yield from _users(found, folder)


def _files(table: Table) -> str:
    return f"{len(table.files):,} files: " if len(table.files) > 1 else ""


def _text_format(found: Findings) -> Iterator[str]:
    sample = found.ratings.sample
    if sample.separator not in _AUTO_SEPARATORS:
        yield line("  separator", sample.separator, "between the fields")
    if not sample.header:
        yield "  # The file has no header line. These are the names of its fields, in order; choose them freely."
        yield f"  header: {plain(list(sample.columns))}"
    encodings = {each.sample.encoding for each in _tables(found)} - {"utf-8"}
    if encodings:
        yield line("  encoding", encodings.pop(), "some bytes are no UTF-8")


def _tables(found: Findings) -> list[Table]:
    return [found.ratings, *([found.items.table] if found.items is not None else [])]


def _columns(found: Findings) -> Iterator[str]:
    roles, values = found.roles, found.ratings.sample.columns
    yield "  columns:"
    for role in ("user", "movie"):
        first = present(values[roles.columns[role]])[:1]
        guess = "GUESSED by the order of the columns" if role in roles.guessed else f"such as {', '.join(first)}"
        yield line(f"    {role}", roles.columns[role], f"{guess}{or_else(roles.others.get(role, ()))}")
    if "rating" in roles.columns:
        reach = numbers(found.values("rating"))
        guess = "GUESSED by its values: " if "rating" in roles.guessed else ""
        comment = f"{guess}from {min(reach):g} to {max(reach):g}{or_else(roles.others.get('rating', ()))}"
        yield line("    rating", roles.columns["rating"], comment)
    else:
        yield line("    rating", None, "no column has ratings, so each line is an event and counts as 1")
    for role in ("event", "count"):
        if role in roles.columns:
            about = "the type of an event" if role == "event" else "a number that an event has"
            yield line(f"    {role}", roles.columns[role], f"{about}{or_else(roles.others.get(role, ()))}")
        elif roles.others.get(role):
            yield f"    # not read: {', '.join(roles.others[role])}"
    if found.unit in (None, "other"):
        yield line("    timestamp", None, _missing_time(found))
    else:
        times = present(values[roles.columns["timestamp"]])[:1]
        comment = f"such as {', '.join(times)}{or_else(roles.others.get('timestamp', ()))}"
        yield line("    timestamp", roles.columns["timestamp"], comment)
    if found.items is not None:
        if found.items.id != roles.columns["movie"]:
            yield line("    movies_id", found.items.id, f"the ids in {found.items.table.path.name}")
        for role in ("title", "genres"):
            yield from _item_column(found, role)


def _item_column(found: Findings, role: str) -> Iterator[str]:
    assert found.items is not None
    roles = found.items.roles
    if role in roles.columns:
        first = present(found.items.table.sample.columns[roles.columns[role]])[:1]
        yield line(
            f"    {role}", roles.columns[role], f"such as {', '.join(first)}{or_else(roles.others.get(role, ()))}"
        )
    else:
        yield f"    # MISSING: no column of {found.items.table.path.name} has {role}; the graph lacks them"


def _missing_time(found: Findings) -> str:
    if "timestamp" not in found.roles.columns:
        return "MISSING: no column has times, so what needs them is off"
    name = found.roles.columns["timestamp"]
    example = present(found.ratings.sample.columns[name])[:1]
    return f"MISSING: {name} has {', '.join(example)}; write times as 2020-09-13 12:43:40, or in seconds since 1970"


def _times(found: Findings) -> Iterator[str]:
    if found.unit is None or found.unit in ("other", "typed"):
        return
    about = "since 1970" if found.unit != "iso" else "times such as 2020-09-13 12:43:40; source.timezone is their zone"
    yield line("  timestamp_unit", found.unit, about)


def _items(found: Findings, folder: Path) -> Iterator[str]:
    items = found.items
    if items is None:
        yield "  # MISSING: no table has titles or genres by item; with one, set movies: PATH, and its columns above"
        return
    yield line(
        "  movies", relative(items.table.path, folder), f"{_files(items.table)}{', '.join(items.table.sample.columns)}"
    )
    if items.genres is not None and items.genres != "|":
        yield line("  genre_separator", items.genres, "between the genres of one item")


def _users(found: Findings, folder: Path) -> Iterator[str]:
    users = found.users
    if users is not None:
        sample = users.table.sample
        path = plain(relative(users.table.path, folder))
        settings = [f"path: {path}", f"format: {sample.kind}"]
        if sample.kind == "csv" and sample.separator != ",":
            settings.append(f"separator: {plain(sample.separator)}")
        if sample.encoding != "utf-8":
            settings.append(f"encoding: {sample.encoding}")
        yield f"  tables:  # facts about users become relations below; ids are in the column {users.id}"
        yield f"    {sql_name(users.table)}: {{{', '.join(settings)}}}"
    for table in found.unused:
        columns = ", ".join(table.sample.columns)
        yield f"  # not used: {table.path.name} ({columns}); docs/graph.md makes relations of it"


def _clean(found: Findings) -> Iterator[str]:
    clean = []
    if found.scale is not None:
        scale, rows = found.scale, found.ratings.sample.rows
        about = "the usual scale that has" if found.usual else "CHECK: no usual scale has"
        clean.append(f"  # {about} all ratings of the first {rows:,} rows; a rating off the scale is a bad line")
        clean += [
            f"  rating_{key}: {getattr(scale, name):g}"
            for key, name in (("min", "low"), ("max", "high"), ("step", "step"))
        ]
    if found.items is not None:
        clean.append("  # ratings of items that the item table lacks are bad lines; keep takes them")
        clean.append("  # unknown_movies: keep")
    if clean:
        yield "clean:" if any(not line.lstrip().startswith("#") for line in clean) else "# clean:"
        yield from clean
