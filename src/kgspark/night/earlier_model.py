"""The earlier night whose vectors a training starts from, or whose model is served."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kgspark.errors import StageError
from kgspark.kge.settings import TrainSettings
from kgspark.night.night import Night
from kgspark.runs import Run, first_difference
from kgspark.tables import ENTITIES, MODEL, PUBLISHED, RATINGS, SERVED, TRIPLES


def earlier_run(night: Night) -> Run | None:
    """The night that `train.warm_start` means; None to start from nothing.

    `latest` is the newest one before this date that was published. Training takes it only if its vectors have tonight's
    sizes. To serve, a night that trained its model comes before one that served it, because a served model lacks the
    users and movies that were gone then.

    Raises StageError if it is this night itself, if the named night has no model, or if there is none to serve.
    """
    settings, date = night.settings.train.resolved(), night.settings.train.warm_start
    if date == night.run.date:
        raise StageError(f"train.warm_start={date} is this night itself; name an earlier one")
    if date == "none":
        return None
    if date != "latest":
        return _named(replace(night.run, date=date))
    published = {run: run.manifest(MODEL) for run in night.run.earlier() if _is_published(run)}
    if night.settings.train.serves:
        return _to_serve(night, {run: model.details for run, model in published.items()})
    last = next(iter(published), None)
    return last if last is not None and _fits(published[last].settings["train"], settings) else None


def comparable_run(night: Night) -> Run | None:
    """`earlier_run`, if it held out the same likes; otherwise its model may have learned those of tonight.

    If it held out others, a `latest` to train from is None, and training starts from nothing. Raises StageError for a
    named night and for one to serve, and if tonight's triples are missing.
    """
    earlier, train = earlier_run(night), night.settings.train
    key = None if earlier is None else split_difference(night.run, earlier)
    if earlier is None or key is None:
        return earlier
    if train.warm_start == "latest" and not train.serves:
        return None
    raise StageError(
        f"train.warm_start: {key} has another value than on {earlier.date}, so the model of that night may have "
        "learned the likes that are held out now; use the same value, or train with train.warm_start=none"
    )


def split_difference(run: Run, earlier: Run) -> str | None:
    """The dotted key of a setting that holds out other likes in two nights; None if they hold out the same ones."""
    return first_difference(_deciders_of_split(earlier), _deciders_of_split(run))


def _deciders_of_split(run: Run) -> dict[str, Any]:
    """What decides which likes are held out, by dotted key. The type of the ids does, because a split may hash them."""
    settings = run.manifest(TRIPLES).settings
    target = settings["train"]["target"]
    return {
        "split": settings["split"],
        f"relations.{target}.where": settings["relations"][target]["where"],
        "source.ids": run.manifest(RATINGS).details["id_type"],
    }


def _named(run: Run) -> Run:
    if run.find_manifest(MODEL) is None:
        raise StageError(f"train.warm_start={run.date}: {run.folder} has no complete model; name another night")
    return run


def _is_published(run: Run) -> bool:
    return all(run.find_manifest(name) is not None for name in (PUBLISHED, MODEL, ENTITIES, TRIPLES, RATINGS))


def _to_serve(night: Night, published: Mapping[Run, Mapping[str, Any]]) -> Run:
    if not published:
        raise StageError(
            f"{night.run.lake}: no night before {night.run.date} has a published model to serve; train one first"
        )
    trained = (run for run, details in published.items() if SERVED not in details)
    return next(trained, next(iter(published)))


def _fits(trained: Mapping[str, Any], settings: TrainSettings) -> bool:
    """True if the earlier model has the sizes of tonight's, so that its vectors can be carried over."""
    return all(trained[key] == getattr(settings, key) for key in ("model", "dim", "norm"))
