"""The last lines of a night: its time, its metrics and those of popularity, its published tables, and a few lists."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from kgspark.names import Names
from kgspark.runs import Outcome, Run
from kgspark.tables import MOVIES, RECOMMENDATIONS, Columns

_USERS_SHOWN, _RANKS_SHOWN = 3, 5
_FIGURES = ("ndcg", "recall", "mrr", "hit")


def night_summary(
    run: Run,
    places: Mapping[str, Sequence[str]],
    metrics: Mapping[str, Mapping[str, Any]],
    outcomes: Sequence[Outcome],
    names: Names,
    compared: Sequence[str] = (),
) -> str:
    """The text at the end of a night.

    places    published table to its location in each target
    metrics   metrics on held-out likes, of the model and of popularity
    names     the columns of the published tables, and the words
    compared  lines that compare the night with earlier ones
    """
    lines = ["", _times(outcomes), *compared, *_metric_lines(metrics), ""]
    for table, found in places.items():
        lines += [f"{table}: {run.manifest(table).rows:,} rows in {shortened(place)}" for place in found]
    lines += ["", *_sample_lines(run, names)]
    return "\n".join(lines)


def _times(outcomes: Sequence[Outcome]) -> str:
    total = sum(outcome.seconds for outcome in outcomes)
    skipped = sum(not outcome.ran for outcome in outcomes)
    note = f"; {skipped} of {len(outcomes)} stages were up to date" if skipped else ""
    largest = max(outcomes, key=lambda outcome: outcome.peak_bytes)
    memory = f" Most memory: {largest.peak_bytes / 2**30:.1f} GiB, in {largest.stage}." if largest.peak_bytes else ""
    return f"The night took {total:.1f} s{note}.{memory}"


def _metric_lines(metrics: Mapping[str, Mapping[str, Any]]) -> list[str]:
    # The lists were measured with one K, which is in the names of the figures.
    found = {figure: value for values in metrics.values() for figure, value in values.items()}
    shown = [figure for name in _FIGURES for figure in found if figure.startswith(f"{name}@")]
    rows = {name: values for name, values in metrics.items() if shown and all(figure in values for figure in shown)}
    if not rows:
        return ["No likes were held out, so there is nothing to measure."]
    header = "held-out likes".ljust(18) + "".join(figure.upper().rjust(12) for figure in shown)
    return ["", header, *[name.ljust(18) + "".join(f"{v[f]:12.4f}" for f in shown) for name, v in rows.items()]]


def _sample_lines(run: Run, names: Names) -> list[str]:
    """The first ranks of a few users, with titles if the data has them."""
    rows = _first_rows(run.first_file(RECOMMENDATIONS), names.user_id)
    shown = {movie for name in (names.movie_id, names.reason_movie_id) for movie in rows[name].to_pylist()}
    titles = _titles(run.table(MOVIES), shown - {None})
    lines = []
    for user in pc.unique(rows[names.user_id]).to_pylist():
        lines.append(f"{names.user} {user}")
        for row in rows.filter(pc.field(names.user_id) == user).to_pylist():
            reason, movie = row[names.reason_movie_id], row[names.movie_id]
            because = f"   because of {titles.get(reason, reason)}" if reason is not None else ""
            lines.append(f"  {row[Columns.RANK]:>2}. {titles.get(movie, movie)}{because}")
    return lines


def _first_rows(file: Path, user_id: str) -> pa.Table:
    """The first ranks of the first users in a file; reads its head only."""
    table = ds.dataset(file).head(100_000, filter=pc.field(Columns.RANK) <= _RANKS_SHOWN)
    users = table[user_id]
    return table.filter(pc.is_in(users, value_set=pc.unique(users)[:_USERS_SHOWN]))


def _titles(folder: Path, movie_ids: set[Any]) -> dict[Any, str]:
    if not folder.is_dir():
        return {}
    columns = [Columns.MOVIE_ID, Columns.TITLE]
    wanted = pc.field(Columns.MOVIE_ID).isin(list(movie_ids))
    found = ds.dataset(sorted(folder.glob("*.parquet"))).to_table(columns=columns, filter=wanted)
    return {row[Columns.MOVIE_ID]: row[Columns.TITLE] or str(row[Columns.MOVIE_ID]) for row in found.to_pylist()}


def shortened(place: str) -> str:
    """A path below the working directory as a relative path; any other path unchanged."""
    return place.removeprefix(f"{Path.cwd()}/")
