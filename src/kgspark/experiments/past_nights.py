"""A night as of an earlier date: the night's own configuration, and only what was known before that date."""

import datetime
from functools import partial

import pyarrow as pa

from kgspark.night.day import first_second
from kgspark.night.night import Night
from kgspark.night.reads import cleaned_tables, id_type
from kgspark.published_schemas import ID_TYPES
from kgspark.runs import Outcome, StageWork
from kgspark.spark.evaluation_sets import named_by
from kgspark.spark.frames import read_table, write_empty, write_table
from kgspark.spark.later_likes import known_before
from kgspark.spark.ranking.settings import CandidateSettings
from kgspark.stages import index_entities, recommend, train_embeddings, write_triples
from kgspark.tables import KEYS, MOVIES, RATINGS, SEEN, USERS


def past_night(night: Night, date: datetime.date) -> Night:
    """The variant of the night for `date`, in a lake of all dates inside the night's folder."""
    settings = night.settings
    changes = {
        "lake": night.run.folder / "evaluations" / "nights",
        "run_date": date.isoformat(),
        "train": settings.train.model_copy(update={"warm_start": "none"}),
        "candidates": CandidateSettings(),  # the user's tables of today, and no baseline knows them
        "recommend": settings.recommend.model_copy(update={"k": max(settings.evaluate.ks)}),
        "audiences": settings.audiences.model_copy(update={"enabled": False}),
    }
    return night.variant(settings.model_copy(update=changes))


def known_until(past: Night) -> int:
    """Midnight at which the date of the night begins, in seconds since 1970: it knows what was before."""
    return first_second(datetime.date.fromisoformat(past.settings.run_date), past.settings.source.timezone)


def run(night: Night, past: Night) -> None:
    """Runs the stages of a past night up to its lists, on what the clean tables of `night` say was known before."""
    _write_known(night, past)
    for stage in (index_entities, write_triples, train_embeddings, recommend):
        stage.run(past)


def _write_known(night: Night, past: Night) -> Outcome:
    work = StageWork.plan(
        past.run,
        "population",
        writes=(*cleaned_tables(night), SEEN),
        settings={"run_date": past.settings.run_date},
        sources={RATINGS: night.run.manifest(RATINGS).fingerprint},
    )
    return past.stage(work, partial(_write, night=night), _summary)


def _write(past: Night, work: StageWork, night: Night) -> None:
    tables = {name: read_table(night.spark, night.run.place(name)) for name in cleaned_tables(night)}
    folders, start, ids = work.begin(), known_until(past), id_type(night)
    files = {
        name: write_table(known_before(table, start), folders[name])
        for name, table in tables.items()
        if name not in (MOVIES, USERS)
    }
    ratings = read_table(night.spark, folders[RATINGS])
    for name in tables.keys() - files.keys():  # they have no times: a movie or user is known from its first rating on
        files[name] = write_table(named_by(tables[name], ratings, *KEYS[name]), folders[name])
    # Refused ratings have no times, either.
    files[SEEN] = write_empty(pa.schema([(key, ID_TYPES[ids]) for key in KEYS[RATINGS]]), folders[SEEN])
    work.commit(files, {RATINGS: {"tables": list(tables), "id_type": ids}})


def _summary(past: Night) -> str:
    rows = {name: past.run.manifest(name).rows for name in cleaned_tables(past)}
    words = {USERS: past.settings.names.users, MOVIES: past.settings.names.movies}
    known = ", ".join(f"{count:,} {words.get(name, name)}" for name, count in rows.items())
    return f"known before {past.settings.run_date}: {known}"
