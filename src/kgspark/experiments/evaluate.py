"""evaluate: the model and baselines on the same held-out likes, by a standard protocol or by the night's own split."""

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from kgspark.experiments import baselines
from kgspark.experiments import protocols as population
from kgspark.experiments.held_out import HeldOut, Measured, measure, read_held_out
from kgspark.experiments.recommender import Recommender
from kgspark.graph.shards import read_graph
from kgspark.kge.export.model_files import load_model, measured_file
from kgspark.kge.export.search_space import export_search_space
from kgspark.manifests import Manifest
from kgspark.night.evaluate_settings import Protocol
from kgspark.night.night import Night
from kgspark.report.figures import comparison
from kgspark.retrieval.space_recommender import SpaceRecommender
from kgspark.search_space import SearchSpace
from kgspark.spark.session import usable_cores
from kgspark.stages import clean_ratings, index_entities, train_embeddings, write_triples
from kgspark.tables import MODEL, SEARCH_SPACE, TRIPLES

OURS = "kgspark"


def run(night: Night) -> dict[str, Any]:
    """Measures the model and `evaluate.baselines`; returns the rows, which `--json` prints."""
    settings = night.settings.evaluate
    rows: list[dict[str, Any]] = []
    if settings.protocol is None:
        if Manifest.read(night.run.table(MODEL)) is None:
            clean_ratings.run(night)
            _train(night)
        held_out = read_held_out(night)
        rows = _rows(night, held_out, _before_refit(night))
        protocol: str = night.settings.split.protocol
    else:
        protocol = settings.protocol
        for seed in settings.seeds:
            of_seed, held_out = measured(night, settings.protocol, seed)
            rows += of_seed
    summary = _summary(rows)
    night.say(comparison(summary))
    return {
        "protocol": protocol,
        "run_date": night.settings.run_date,
        "data": held_out.to_json(),
        "rows": rows,
        "summary": summary,
    }


def measured(night: Night, protocol: Protocol, seed: int) -> tuple[list[dict[str, Any]], HeldOut]:
    """Trains as the protocol would have it with one seed; a row for our model and for each baseline."""
    variant = population.evaluation_night(night, protocol, seed)
    population.run(night, variant, protocol)
    _train(variant)
    held_out = read_held_out(variant, variant.settings.train.resolved().learned_splits)
    return _rows(variant, held_out, SearchSpace.load(variant.run.table(SEARCH_SPACE))), held_out


def _train(night: Night) -> None:
    for stage in (index_entities, write_triples, train_embeddings):
        stage.run(night)


def _before_refit(night: Night) -> SearchSpace:
    """The night's vectors as they were before the refit that let them see the held-out likes."""
    saved = load_model(measured_file(night.run.table(MODEL)))
    graph = read_graph(night.run.table(TRIPLES), saved.layout, saved.relations)
    settings = saved.settings.model_copy(update={"refit": "none"})
    return export_search_space(saved.build(), graph, settings)


def _rows(night: Night, held_out: HeldOut, space: SearchSpace) -> list[dict[str, Any]]:
    """One row a model: ours first, then each baseline with our lead over it."""
    settings, seed = night.settings.evaluate, night.settings.train.seed
    trained = night.run.manifest(MODEL).details["training"]["seconds"]
    ours = measure(SpaceRecommender(space, usable_cores()), held_out, settings)
    rows = [{"model": OURS, "seed": seed, **ours.row(held_out, settings, seed), "fit_seconds": trained}]
    for name in settings.baselines:
        rows.append(_baseline_row(name, partial(baselines.fit, night, held_out, name), held_out, ours, night))
    return rows


def _baseline_row(
    name: str, fit: Callable[[], Recommender], held_out: HeldOut, ours: Measured, night: Night
) -> dict[str, Any]:
    settings, seed = night.settings.evaluate, night.settings.train.seed
    started = time.perf_counter()
    recommender = fit()
    fitted = time.perf_counter()
    measured = measure(recommender, held_out, settings)
    row = {"model": name, "seed": seed, **measured.row(held_out, settings, seed), "fit_seconds": fitted - started}
    return row | {"lead": ours.lead(measured, settings, seed)}


def _summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and sample deviation over the seeds of every figure, a row a model."""
    summary = []
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == model]
        names = [name for name, value in own[0].items() if isinstance(value, float)]
        means = {name: statistics.fmean(row[name] for row in own) for name in names}
        deviations = {name: statistics.stdev(row[name] for row in own) for name in names} if len(own) > 1 else {}
        summary.append({"model": model, "seeds": [row["seed"] for row in own], "mean": means, "deviation": deviations})
    return summary
