"""The page of a night: gathers what the page needs besides the tables, writes it, and sends it to the lake's store."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from kgspark.errors import KgsparkError
from kgspark.files import write_atomically
from kgspark.night.comparison import last_full_night, read_times
from kgspark.night.night import Night
from kgspark.night.refusals import refusal
from kgspark.report.night_page.night import NightContext, PageNight
from kgspark.report.night_page.page import night_page
from kgspark.run_figures import read_findings
from kgspark.runs import Run
from kgspark.tables import MODEL, PUBLISHED, RECOMMENDATIONS
from kgspark.warehouse.files import warehouse_of

REPORT = "report.html"
# Nights in the charts of the last ones.
_NIGHTS = 30
# The folder of a publication that has not been committed, from the night's folder.
_UNFINISHED = f".staging/publish/{PUBLISHED}"


def write_report(night: Night) -> str:
    """Writes the page of the night of `run_date`; returns its path, or its URI if the lake is on a store.

    Raises StageError if a package or a table is missing, or if the store cannot be written.
    """
    run = night.run
    run.manifests((RECOMMENDATIONS, MODEL))
    page = PageNight(
        run, night.settings.names, night.settings.train.target, night.settings.report, _context(run), _before(run)
    )
    path = run.folder / REPORT
    write_atomically(path, night_page(page))
    if (copy := run.copy) is not None:
        copy.store.upload(path, _key(run))
    return _place(run)


def _key(run: Run) -> str:
    return f"runs/{run.date}/{REPORT}"


def _place(run: Run) -> str:
    return str(run.folder / REPORT) if run.copy is None else f"{run.copy.store.uri}/{_key(run)}"


def add_report(night: Night, anew: bool = True) -> str | None:
    """`write_report` at the end of a night, if it is wanted. Unless `anew`, a page that is there stays.

    What goes wrong is one line, because the tables are published.
    """
    if not night.settings.report.enabled:
        return None
    try:
        return write_report(night) if anew or not _is_there(night.run) else _place(night.run)
    except Exception as error:  # a page must never end a night that has published
        text = str(error) if isinstance(error, KgsparkError) else f"{type(error).__name__}: {error}"
        night.note(f"no report: {' '.join(text.split())}", "warn")
        return None


def _is_there(run: Run) -> bool:
    return (run.folder / REPORT).exists() if run.copy is None else run.copy.store.find(_key(run)) is not None


def _before(run: Run) -> Run | None:
    """The last night before this one whose publication is still in the lake."""
    return next((it for it in run.earlier() if it.find_manifest(PUBLISHED) is not None), None)


def _context(run: Run) -> NightContext:
    reason = refusal(run)
    published = run.find_manifest(PUBLISHED)
    current = published is not None and _is_of(run, published.inputs)
    state = "refused" if reason else "published" if current else "not published"
    # The times of a night that was refused are those of an earlier run of it.
    times, full = None if reason else read_times(run), last_full_night(run)
    return NightContext(
        state=state,
        reason=reason or "",
        findings=_findings(run, state),
        seconds=times.stages if times else {},
        memory=times.memory if times else {},
        nights=list(_nights(run))[::-1],
        full=full.stages if full else {},
        full_date=full.date if full else "",
        before_lists=_lists_before(run),
    )


def _is_of(run: Run, inputs: Mapping[str, str]) -> bool:
    """True if these are the fingerprints of the tables that are there."""
    found = {name: run.find_manifest(name) for name in inputs}
    return all(it is not None and it.fingerprint == inputs[name] for name, it in found.items())


def _findings(run: Run, state: str) -> Sequence[Mapping[str, Any]]:
    """The audit of the publication, or of the one that was refused; empty if it came to none."""
    if state == "not published":
        return []
    folder = run.table(PUBLISHED) if state == "published" else run.folder / _UNFINISHED
    return read_findings(folder)


def _nights(run: Run) -> Iterator[Mapping[str, Any]]:
    """This night and the last ones that have a model, the newest first."""
    for it in islice((run, *run.earlier()), _NIGHTS):
        manifest = it.find_manifest(MODEL)
        if manifest is None:
            continue
        metrics, times = manifest.details["metrics"], read_times(it)
        metric = next((name for name in metrics.get("model", {}) if name.startswith("ndcg@")), None)
        values = {name: metrics.get(name, {}).get(metric) for name in ("model", "popularity")}
        yield {"date": it.date, "metric": metric, **values, "seconds": times.seconds if times else None}


def _lists_before(run: Run) -> Path | None:
    """The published recommendations of the last date before this one, as files of this machine."""
    warehouse = warehouse_of(run.lake)
    dates = (date for date in warehouse.dates() if date < run.date)
    return next(filter(None, (warehouse.readable(RECOMMENDATIONS, date) for date in dates)), None)
