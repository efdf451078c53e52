"""The last lines of a night: its time, its metrics beside popularity's, its published tables, and a few lists."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from kgspark.runs import Outcome, Run
from kgspark.tables import MOVIES, RECOMMENDATIONS

_USERS_SHOWN, _RANKS_SHOWN = 3, 5
_FIGURES = ("ndcg@10", "recall@10", "mrr@10", "hit@10")


def night_summary(
    run: Run,
    places: Mapping[str, Sequence[str]],
    metrics: Mapping[str, Mapping[str, Any]],
    outcomes: Sequence[Outcome],
) -> str:
    """The text that ends a night.

    places   published table to its place in each target
    metrics  figures on held-out likes, of the model and of popularity
    """
    lines = ["", _times(outcomes), *_metric_lines(metrics), ""]
    for table, found in places.items():
        lines += [f"{table}: {run.manifest(table).rows:,} rows in {_short(place)}" for place in found]
    lines += ["", *_sample_lines(run)]
    return "\n".join(lines)


def _times(outcomes: Sequence[Outcome]) -> str:
    total = sum(outcome.seconds for outcome in outcomes)
    skipped = sum(not outcome.ran for outcome in outcomes)
    note = f"; {skipped} of {len(outcomes)} stages were up to date" if skipped else ""
    largest = max(outcomes, key=lambda outcome: outcome.peak_bytes)
    held = f" Most memory: {largest.peak_bytes / 2**30:.1f} GiB, in {largest.stage}." if largest.peak_bytes else ""
    return f"The night took {total:.1f} s{note}.{held}"


def _metric_lines(metrics: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = {name: values for name, values in metrics.items() if all(figure in values for figure in _FIGURES)}
    if not rows:
        return ["No likes were held out, so there is nothing to measure."]
    header = "held-out likes".ljust(18) + "".join(figure.upper().rjust(12) for figure in _FIGURES)
    return ["", header, *[name.ljust(18) + "".join(f"{v[f]:12.4f}" for f in _FIGURES) for name, v in rows.items()]]


def _sample_lines(run: Run) -> list[str]:
    """The first ranks of a few users, with titles if the data has them."""
    rows = _first_rows(run.table(RECOMMENDATIONS))
    shown = {value for name in ("movie_id", "reason_movie_id") for value in rows[name].to_pylist() if value is not None}
    titles = _titles(run.table(MOVIES), shown)
    lines = []
    for user in pc.unique(rows["user_id"]).to_pylist():
        lines.append(f"user {user}")
        for row in rows.filter(pc.field("user_id") == user).to_pylist():
            reason = row.get("reason_movie_id")
            because = f"   because of {titles.get(reason, reason)}" if reason is not None else ""
            lines.append(f"  {row['rank']:>2}. {titles.get(row['movie_id'], row['movie_id'])}{because}")
    return lines


def _first_rows(folder: Path) -> pa.Table:
    """The first ranks of the first users in the first file; reads the head of that file only."""
    table = ds.dataset(sorted(folder.glob("*.parquet"))[0]).head(100_000, filter=pc.field("rank") <= _RANKS_SHOWN)
    shown = pc.unique(table["user_id"])[:_USERS_SHOWN]
    return table.filter(pc.is_in(table["user_id"], value_set=shown))


def _titles(folder: Path, movie_ids: set[Any]) -> dict[Any, str]:
    if not folder.is_dir():
        return {}
    wanted = pc.field("movie_id").isin(list(movie_ids))
    found = ds.dataset(sorted(folder.glob("*.parquet"))).to_table(columns=["movie_id", "title"], filter=wanted)
    return {row["movie_id"]: row["title"] or str(row["movie_id"]) for row in found.to_pylist()}


def _short(place: str) -> str:
    """A path below the working directory as a relative one; anything else as it is."""
    return place.removeprefix(f"{Path.cwd()}/")
