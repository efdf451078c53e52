"""evaluate: the model and baselines on the same held-out likes, by a standard protocol or by the night's own split."""

import json
import statistics
import time
from collections.abc import Sequence
from typing import Any

from kgspark.errors import ConfigError
from kgspark.experiments import backtest, protocols
from kgspark.experiments.known_likes import space_with_known, with_known
from kgspark.experiments.recommenders import OURS, TIME_KNOWN, as_recommender
from kgspark.files import write_atomically
from kgspark.night.evaluate_settings import ProtocolName
from kgspark.night.held_out import (
    HeldOut,
    Measured,
    measure,
    read_held_out,
    space_at_times,
    space_before_refit,
)
from kgspark.night.night import Night
from kgspark.peers.baselines import Likes, Recommender, check_packages, fit_baseline, fold_in
from kgspark.report.figures import comparison
from kgspark.search_space import SearchSpace
from kgspark.stages import clean_ratings, index_entities, train_embeddings, write_triples
from kgspark.tables import ENTITIES, MODEL, SEARCH_SPACE, TRIPLES

Row = dict[str, Any]


def run(night: Night) -> Row:
    """Evaluates the model and `evaluate.baselines`; returns the object that `--json` prints."""
    settings = night.settings.evaluate
    if settings.protocol is not None and night.settings.train.serves:
        raise ConfigError(
            f"train.epochs=0 trains nothing, and evaluate.protocol={settings.protocol} trains a model; "
            "set train.epochs, or evaluate.protocol=null for the night's own model"
        )
    check_packages(settings.compared)
    if settings.protocol == "nights":
        answer = backtest.run(night)
        _save(night, answer)
        return answer
    if settings.protocol is None:
        protocol: str = night.settings.split.protocol
        rows, held_out = _measure_night(night)
    else:
        protocol = settings.protocol
        rows = []
        for seed in settings.seeds:
            rows_of_seed, held_out = measure_protocol(night, settings.protocol, seed)
            rows += rows_of_seed
    summary = summarise(rows)
    answer = {
        "protocol": protocol,
        "run_date": night.settings.run_date,
        "data": held_out.to_json(),
        "rows": rows,
        "summary": summary,
    }
    _save(night, answer)
    # The figure in the line of train-embeddings is that of the best epoch, before the refit.
    test = f"{len(held_out.test.indices):,} test likes of {len(held_out.test_users):,} {night.settings.names.users}"
    night.say(f"\nProtocol {protocol}: what the lists of the finished models find of {test}\n")
    night.say(comparison(summary, intervals=True))
    return answer


def _save(night: Night, answer: Row) -> None:
    """Keeps the figures in the folder of the evaluation: those of the last one by this protocol."""
    path = night.run.folder / "evaluations" / (night.settings.evaluate.protocol or "night") / "figures.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(answer, indent=2) + "\n")
    night.say(f"\nAll figures are kept in {path}")


def measure_protocol(night: Night, protocol: ProtocolName, seed: int) -> tuple[list[Row], HeldOut]:
    """Trains by the protocol's rules, with one seed; returns a row for our model and a row per baseline."""
    variant = protocols.evaluation_night(night, protocol, seed)
    protocols.run(night, variant, protocol)
    _train(variant)
    held_out = read_held_out(variant, variant.settings.train.resolved().learned_splits)
    space = SearchSpace.load(variant.run.table(SEARCH_SPACE))
    if protocol == "fold-in":
        held_out, space = with_known(held_out, seed), space_with_known(variant.run, seed)
    ours, *others = _rows(variant, held_out, space)
    if protocol == "next" and (timed := space_at_times(variant.run)) is not None:
        others = [_our_row(TIME_KNOWN, variant, held_out, timed)[0], *others]
    return [ours, *others], held_out


def _measure_night(night: Night) -> tuple[list[Row], HeldOut]:
    """The same with the night's model and split; trains first if there is no model."""
    if night.run.find_manifest(MODEL) is None:
        clean_ratings.run(night)
        _train(night)
    reads = (MODEL, TRIPLES, ENTITIES)
    night.run.manifests(reads)
    night.run.check_files(reads)
    held_out = read_held_out(night)
    return _rows(night, held_out, space_before_refit(night.run)), held_out


def _train(night: Night) -> None:
    for stage in (index_entities, write_triples, train_embeddings):
        stage.run(night)


def _rows(night: Night, held_out: HeldOut, space: SearchSpace) -> list[Row]:
    """One row per model: ours first, then each baseline with our lead over it."""
    row, ours = _our_row(OURS, night, held_out, space)
    valid = night.run.manifest(MODEL).details["training"]["valid"]
    return [row | {"valid": valid}] + [
        _baseline_row(name, night, held_out, ours) for name in night.settings.evaluate.compared
    ]


def _our_row(name: str, night: Night, held_out: HeldOut, space: SearchSpace) -> tuple[Row, Measured]:
    settings, seed = night.settings.evaluate, night.settings.train.seed
    seconds = night.run.manifest(MODEL).details["training"]["seconds"]
    ours = measure(as_recommender(space), held_out, settings)
    return {"model": name, "seed": seed, **ours.row(held_out, settings, seed), "fit_seconds": seconds}, ours


def _baseline_row(name: str, night: Night, held_out: HeldOut, ours: Measured) -> Row:
    settings, seed = night.settings.evaluate, night.settings.train.seed
    started = time.perf_counter()
    recommender = fit_on(name, night, held_out)
    seconds = time.perf_counter() - started
    measured = measure(recommender, held_out, settings)
    row = {"model": name, "seed": seed, **measured.row(held_out, settings, seed), "fit_seconds": seconds}
    return row | {"lead": ours.lead(measured, settings, seed)}


def fit_on(name: str, night: Night, held_out: HeldOut) -> Recommender:
    """The baseline `name`, fitted on the same likes as the model."""
    settings = night.settings
    likes = Likes(
        held_out.train, held_out.movies, settings.evaluate.peers, settings.train.seed, session=lambda: night.spark
    )
    fitted = fit_baseline(name, likes)
    return as_recommender(fitted if held_out.known is None else fold_in(name, fitted, held_out.histories))


def summarise(rows: Sequence[Row]) -> list[Row]:
    """Mean and sample deviation of every metric over the seeds, one row per model; of one seed also the intervals."""
    summary = []
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == model]
        names = [name for name, value in own[0].items() if isinstance(value, float)]
        means = {name: statistics.fmean(row[name] for row in own) for name in names}
        deviations = {name: statistics.stdev(row[name] for row in own) for name in names} if len(own) > 1 else {}
        limits = {"ci95": own[0]["ci95"]} if len(own) == 1 and own[0].get("ci95") else {}
        seeds = [row["seed"] for row in own]
        summary.append({"model": model, "seeds": seeds, "mean": means, "deviation": deviations, **limits})
    return summary
