"""What an evaluation protocol is: a variant of the night with its own ratings, split, and definition of a like."""

import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from kgspark.errors import InputError
from kgspark.files import DataFile, describe_folder, source_signature
from kgspark.night.evaluate_settings import Protocol
from kgspark.night.night import Night
from kgspark.night.reads import cleaned_tables, id_type
from kgspark.night.settings import NightSettings
from kgspark.runs import Outcome, StageWork
from kgspark.spark import evaluation_sets as populations
from kgspark.spark.frames import DataFrame, read_table, write_table
from kgspark.spark.graph.splits import with_split
from kgspark.stages import clean_ratings
from kgspark.tables import MOVIES, RATINGS, USERS

# RecBole's and RePlay's benchmarks call this a like.
_LIKED = "rating >= 3"
_LIKES: dict[Protocol, dict[str, str | None]] = {
    "recbole": {"where": _LIKED},
    "time": {"where": _LIKED},
    "files": {"where": None, "weight": "1.0"},  # every line is a like, without a rating
}
_CORE = 10
# The side tables whose rows are entities.
_KEYS = {MOVIES: "movie_id", USERS: "user_id"}
_SPLITS: dict[Protocol, dict[str, Any]] = {
    "random": {"protocol": "random", "test": 0.15, "valid": 0.05},
    "leave-one-out": {"protocol": "leave-one-out"},
    "recbole": {"protocol": "per-user"},
    "time": {"protocol": "time", "test": 0.2, "valid": 0.0},
    "cold-users": {"protocol": "cold-users", "test": 0.1, "valid": 0.05},
    "cold-movies": {"protocol": "cold-movies", "test": 0.1, "valid": 0.05},
    "files": {"protocol": "random", "valid": 0.05},
}
# Of the ratings before the last fifth, this share is for validation: the latest ones, as the test is the latest.
_VALID_OF_TIME = 0.1
# Models are fitted on train alone here, and on train and validation elsewhere.
_TRAIN_ONLY: tuple[Protocol, ...] = ("recbole",)


def evaluation_night(night: Night, protocol: Protocol, seed: int) -> Night:
    """The night as the protocol would have it, in a lake of its own inside the night's folder."""
    settings = night.settings
    train = {"seed": seed, "warm_start": "none"}
    train["refit"] = "none" if protocol in _TRAIN_ONLY else "anew"
    relations = dict(settings.relations)
    if protocol in _LIKES:
        relations[settings.train.target] = settings.target.model_copy(update=_LIKES[protocol])
    if _ids_of_their_own(settings, protocol):
        relations = {name: relation for name, relation in relations.items() if relation.table == RATINGS}
    changes = {
        "lake": night.run.folder / "evaluations" / protocol,
        "split": settings.split.model_copy(update=_SPLITS[protocol] | {"seed": seed}),
        "train": settings.train.without_test_likes().model_copy(update=train),
        "relations": relations,
    }
    return night.variant(settings.model_copy(update=changes))


def _ids_of_their_own(settings: NightSettings, protocol: Protocol) -> bool:
    return protocol == "files" and settings.evaluate.ids == "own"


def run(night: Night, variant: Night, protocol: Protocol) -> Outcome:
    """Writes the variant's ratings and side tables unless they are as they were."""
    tables, sources = [RATINGS], {}
    if protocol == "files":
        sources = {key: _signature(key, path) for key, path in _files(night.settings).items()}
    if not _ids_of_their_own(night.settings, protocol):
        clean_ratings.run(night)
        tables = cleaned_tables(night)
        sources[RATINGS] = night.run.manifest(RATINGS).fingerprint
    work = StageWork.plan(
        variant.run,
        "population",
        writes=tables,
        settings={"protocol": protocol, "split": variant.settings.split.model_dump(exclude={"seed"})},
        sources=sources,
    )
    return variant.stage(work, partial(_write, night=night, protocol=protocol), _summary)


def link(night: Night, variant: Night) -> Outcome:
    """Gives the variant the night's clean tables, unless it has them."""
    ratings, tables = night.run.manifest(RATINGS), cleaned_tables(night)
    work = StageWork.plan(variant.run, "population", writes=tables, settings={}, sources={RATINGS: ratings.fingerprint})

    def act(variant: Night, work: StageWork) -> None:
        files = {name: _linked(night.run.table(name), folder) for name, folder in work.begin().items()}
        work.commit(files, {RATINGS: {"tables": tables, "id_type": id_type(night)}})

    return variant.stage(work, act, _summary)


def _write(variant: Night, work: StageWork, night: Night, protocol: Protocol) -> None:
    chosen, ids = _ratings(night, variant, protocol)
    folders, files = work.begin(), {}
    if chosen is not None:
        files[RATINGS] = write_table(chosen, folders[RATINGS])
    for name in folders.keys() - files.keys():
        if chosen is None or name not in _KEYS:
            files[name] = _linked(night.run.table(name), folders[name])
        else:
            written = read_table(night.spark, folders[RATINGS])
            side = read_table(night.spark, night.run.table(name))
            files[name] = write_table(populations.named_by(side, written, _KEYS[name]), folders[name])
    work.commit(files, {RATINGS: {"tables": list(folders), "id_type": ids}})


def _ratings(night: Night, variant: Night, protocol: Protocol) -> tuple[DataFrame | None, str]:
    """The ratings that the protocol speaks of (None: all of the night's), and the type of their ids."""
    if protocol == "files":
        return populations.exchange_files(night.spark, *_files(night.settings).values())
    if protocol not in ("recbole", "time"):
        return None, id_type(night)
    liked = read_table(night.spark, night.run.table(RATINGS)).where(_LIKED)
    if protocol == "recbole":
        return populations.core(liked, _CORE), id_type(night)
    split = variant.settings.split.model_copy(update={"valid": _VALID_OF_TIME})
    return populations.without_cold(with_split(liked, split, None)), id_type(night)


def _files(settings: NightSettings) -> dict[str, Path]:
    named = {"evaluate.train": settings.evaluate.train, "evaluate.test": settings.evaluate.test}
    return {key: path for key, path in named.items() if path is not None}


def _signature(key: str, path: Path) -> str:
    if not path.exists():
        raise InputError(f"{path}: no such file; {key} names it")
    return source_signature([path])


def _linked(folder: Path, to: Path) -> list[DataFile]:
    """The table's files under a second name: nothing is copied."""
    shutil.copytree(folder, to, copy_function=os.link, ignore=shutil.ignore_patterns("_*", ".*"))
    return describe_folder(to)


def _summary(variant: Night) -> str:
    rows = {name: variant.run.manifest(name).rows for name in cleaned_tables(variant)}
    return ", ".join(f"{count:,} {name}" for name, count in rows.items())
