"""The evaluation protocols: each is a variant of the night with its own ratings, split, and definition of a like."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from kgspark.errors import InputError, StageError
from kgspark.files import TableFiles, describe_folder, source_signature
from kgspark.night.evaluate_settings import ProtocolName
from kgspark.night.night import Night
from kgspark.night.reads import cleaned_tables, id_type
from kgspark.night.settings import NightSettings
from kgspark.runs import Outcome, StageWork
from kgspark.spark.evaluation_sets import find_core, named_by, read_sequences, read_split_files, without_cold
from kgspark.spark.frames import DataFrame, read_table, write_table
from kgspark.spark.graph.derived import DERIVED
from kgspark.spark.graph.relations import matching_rows
from kgspark.spark.graph.splits import with_split
from kgspark.spark.later_likes import liked_ratings
from kgspark.stages import clean_ratings
from kgspark.tables import KEYS, MOVIES, RATINGS, USERS

# RecBole's and RePlay's benchmarks call this a like.
_THREE_STARS = {"where": "rating >= 3"}
_CORE = 10
# This fraction of the ratings before the last fifth is for validation: the latest ones, as in the test.
_VALID_OF_TIME = 0.1
# The target relation of files: every item of a line is a like, without a rating.
_UNRATED = {"where": None, "weight": "1.0"}


@dataclass(frozen=True)
class EvaluationProtocol:
    """One protocol.

    split   changed values of the section `split`
    target  changed values of the target relation: the protocol's definition of a like
    choose  makes the protocol's ratings from the night's ratings and the variant's settings; None: all ratings
    files   keys of `evaluate` that name the files with the ratings instead
    read    reads these files, and the type of their ids, see `evaluation_sets`
    refit   train.refit: "anew" on train and validation, or "none" for models that may learn train only
    """

    split: Mapping[str, Any]
    target: Mapping[str, str | None] = field(default_factory=dict)
    choose: Callable[[DataFrame, NightSettings], DataFrame] | None = None
    files: tuple[str, ...] = ()
    read: Callable[..., tuple[DataFrame, str]] | None = None
    refit: str = "anew"


def _dense_likes(ratings: DataFrame, settings: NightSettings) -> DataFrame:
    return find_core(liked_ratings(ratings, settings.target.where), _CORE)


def _likes_split_by_time(ratings: DataFrame, settings: NightSettings) -> DataFrame:
    """Likes with their split, without test rows of users and movies that are unknown before the test."""
    split = settings.split.model_copy(update={"valid": _VALID_OF_TIME})
    return without_cold(with_split(liked_ratings(ratings, settings.target.where), split, None))


def _dense_positives(ratings: DataFrame, settings: NightSettings) -> DataFrame:
    """The core of the ratings that the target relation selects; StageError if it is empty."""
    core = find_core(matching_rows(settings.train.target, settings.target, ratings), settings.evaluate.core)
    if core.isEmpty():
        raise StageError(
            f"evaluate.core={settings.evaluate.core} leaves no rating: no users and movies have so many; lower it"
        )
    return core


PROTOCOLS: dict[ProtocolName, EvaluationProtocol] = {
    "random": EvaluationProtocol({"protocol": "random", "test": 0.15, "valid": 0.05}),
    "leave-one-out": EvaluationProtocol({"protocol": "leave-one-out"}),
    "recbole": EvaluationProtocol({"protocol": "per-user"}, _THREE_STARS, _dense_likes, refit="none"),
    "time": EvaluationProtocol({"protocol": "time", "test": 0.2, "valid": 0.0}, _THREE_STARS, _likes_split_by_time),
    "cold-users": EvaluationProtocol({"protocol": "cold-users", "test": 0.1, "valid": 0.05}),
    "cold-movies": EvaluationProtocol({"protocol": "cold-movies", "test": 0.1, "valid": 0.05}),
    "fold-in": EvaluationProtocol({"protocol": "cold-users", "test": 0.1, "valid": 0.05}),
    "next": EvaluationProtocol({"protocol": "leave-one-out"}, {"where": None}, _dense_positives),
    "files": EvaluationProtocol(
        {"protocol": "random", "valid": 0.05}, _UNRATED, files=("train", "test"), read=read_split_files
    ),
}


def protocol_of(settings: NightSettings, name: ProtocolName) -> EvaluationProtocol:
    """The protocol in the form that the settings choose. Events have no stars: their likes are those of the night."""
    protocol, evaluate = PROTOCOLS[name], settings.evaluate
    if name == "next" and evaluate.sequences is not None:
        return replace(protocol, target=_UNRATED, choose=None, files=("sequences",), read=read_sequences)
    if name == "next" and evaluate.positives == "target":
        return replace(protocol, target={})
    if protocol.target == _THREE_STARS and settings.source.has_events:
        return replace(protocol, target={})
    return protocol


def evaluation_night(night: Night, name: ProtocolName, seed: int) -> Night:
    """The variant of the night for the protocol, in its own lake inside the night's folder."""
    settings = night.settings
    protocol = protocol_of(settings, name)
    train = {"seed": seed, "warm_start": "none", "refit": protocol.refit}
    target = settings.target.model_copy(update=dict(protocol.target))
    relations = {**settings.relations, settings.train.target: target}
    if _has_own_ids(settings, protocol):
        # Derived tables follow the order of likes in time, which only sequences have.
        known = (RATINGS, *DERIVED) if protocol.read is read_sequences else (RATINGS,)
        relations = {name: relation for name, relation in relations.items() if relation.table in known}
    changes = {
        "lake": night.run.folder / "evaluations" / name,
        "split": settings.split.model_copy(update={**protocol.split, "seed": seed}),
        "audiences": settings.audiences.model_copy(update={"enabled": False}),  # nothing is ranked for them
        "train": settings.train.without_test_likes().model_copy(update=train),
        "relations": relations,
    }
    return night.variant(settings.model_copy(update=changes))


def _has_own_ids(settings: NightSettings, protocol: EvaluationProtocol) -> bool:
    """True if the ids of the protocol's files are not those of source.path."""
    return bool(protocol.files) and settings.evaluate.ids == "own"


def run(night: Night, variant: Night, name: ProtocolName) -> Outcome:
    """Writes the variant's ratings and side tables unless they are unchanged."""
    protocol = protocol_of(night.settings, name)
    tables = [RATINGS]
    sources = {key: _signature(key, path) for key, path in _files(night.settings, protocol).items()}
    if not _has_own_ids(night.settings, protocol):
        clean_ratings.run(night)
        tables = cleaned_tables(night)
        sources[RATINGS] = night.run.manifest(RATINGS).fingerprint
    work = StageWork.plan(
        variant.run,
        "population",
        writes=tables,
        settings={"protocol": name, **_choice(variant.settings, protocol)},
        sources=sources,
    )
    return variant.stage(work, partial(_write, night=night, protocol=protocol), _summary)


def _choice(settings: NightSettings, protocol: EvaluationProtocol) -> dict[str, Any]:
    """The settings of the variant that the choice of its ratings depends on."""
    choice: dict[str, Any] = {"split": settings.split.model_dump(exclude={"seed"})}
    if protocol.choose is _dense_positives:
        choice |= {"core": settings.evaluate.core}
    if protocol.choose is not None:
        choice |= {"where": settings.target.where}
    return choice


def link(night: Night, variant: Night) -> Outcome:
    """Links the night's clean tables into the variant, unless it has them."""
    ratings, tables = night.run.manifest(RATINGS), cleaned_tables(night)
    work = StageWork.plan(variant.run, "population", writes=tables, settings={}, sources={RATINGS: ratings.fingerprint})

    def act(variant: Night, work: StageWork) -> None:
        files = {name: _link_table(night, name, folder) for name, folder in work.begin().items()}
        work.commit(files, {RATINGS: {"tables": tables, "id_type": id_type(night)}})

    return variant.stage(work, act, _summary)


def _write(variant: Night, work: StageWork, night: Night, protocol: EvaluationProtocol) -> None:
    chosen, ids = _choose_ratings(night, variant, protocol)
    folders, files = work.begin(), {}
    if chosen is not None:
        files[RATINGS] = write_table(chosen, folders[RATINGS])
    for name in folders.keys() - files.keys():
        if chosen is not None and name in (MOVIES, USERS):  # their rows are entities, so only ids with ratings stay
            files[name] = _write_named(night, name, folders[RATINGS], folders[name])
        else:
            files[name] = _link_table(night, name, folders[name])
    work.commit(files, {RATINGS: {"tables": list(folders), "id_type": ids}})


def _choose_ratings(night: Night, variant: Night, protocol: EvaluationProtocol) -> tuple[DataFrame | None, str]:
    """The protocol's ratings (None: all of the night's), and the type of their ids."""
    if protocol.read is not None:
        ids = None if _has_own_ids(night.settings, protocol) else id_type(night)
        return protocol.read(night.spark, *_files(night.settings, protocol).values(), id_type=ids)
    if protocol.choose is None:
        return None, id_type(night)
    ratings = read_table(night.spark, night.run.place(RATINGS))
    return protocol.choose(ratings, variant.settings), id_type(night)


def _write_named(night: Night, name: str, ratings: Path, folder: Path) -> TableFiles:
    """Writes the rows of a side table whose ids occur in the written ratings."""
    (key,) = KEYS[name]
    side = read_table(night.spark, night.run.place(name))
    return write_table(named_by(side, read_table(night.spark, ratings), key), folder)


def _link_table(night: Night, name: str, folder: Path) -> TableFiles:
    """Links the files of the night's table into `folder`; nothing is copied."""
    ignored = shutil.ignore_patterns("_*", ".*")
    shutil.copytree(night.run.table(name), folder, copy_function=os.link, ignore=ignored)
    return TableFiles(describe_folder(folder), night.run.manifest(name).content)


def _files(settings: NightSettings, protocol: EvaluationProtocol) -> dict[str, Path]:
    """The paths of the protocol's files, by the dotted keys that name them."""
    return {f"evaluate.{key}": getattr(settings.evaluate, key) for key in protocol.files}


def _signature(key: str, path: Path) -> str:
    if not path.is_file():
        raise InputError(f"{path}: no such file; {key} names it")
    return source_signature([path])


def _summary(variant: Night) -> str:
    rows = {name: variant.run.manifest(name).rows for name in cleaned_tables(variant)}
    return ", ".join(f"{count:,} {name}" for name, count in rows.items())
