"""bench train: training speed beside tgraphx's own KGTrainer, and the seconds that training needs to reach EASE."""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import Field

from kgspark import config
from kgspark.bench import training_speed as speed
from kgspark.bench.generated import GeneratedSettings
from kgspark.bench.settings import night_settings
from kgspark.config import Settings
from kgspark.experiments import baselines
from kgspark.experiments.held_out import HeldOut, measure, read_held_out
from kgspark.experiments.recommender import Recommender
from kgspark.graph.graph import Graph
from kgspark.graph.shards import read_graph
from kgspark.kge.device import pick_device
from kgspark.kge.settings import TrainSection
from kgspark.night.night import Night, open_night
from kgspark.night.reads import entity_layout, relations_of
from kgspark.retrieval.space_recommender import SpaceRecommender
from kgspark.runs import versions
from kgspark.search_space import SearchSpace
from kgspark.spark.session import usable_cores
from kgspark.stages import clean_ratings, index_entities, write_triples
from kgspark.tables import TRAIN, TRIPLES, VALID

Say = Callable[[str], None]
Row = dict[str, Any]

KGTRAINER, KGTRAINER_FILTERED = "tgraphx KGTrainer", "tgraphx KGTrainer, filtered negatives"
STOCK, OURS, GENERATED = "kgspark, KGTrainer's objective", "kgspark", "kgspark, generated graph"
THEIR_NEGATIVES, OUR_NEGATIVES = "tgraphx, filtered typed negatives", "kgspark, filtered typed negatives"
_FIGURE = "ndcg@10"


class TrainBenchSettings(Settings):
    """`kgspark bench train`: triples a second, and seconds to a quality."""

    source: str = Field("tests/data/ml-latest-small", description="a MovieLens folder")
    rounds: int = Field(3, ge=1, description="timed epochs of each system, in turn; the medians are told")
    sample: int = Field(20_000, ge=1, description="train triples that KGTrainer and its objective in kgspark train")
    filtered_sample: int = Field(2_000, ge=0, description="the same with KGTrainer's filtered sampler; 0 leaves it out")
    batch_size: int = Field(512, ge=1, description="triples a step of KGTrainer and of its objective in kgspark")
    train: TrainSection = Field(default_factory=TrainSection, description="as a night's train section")
    generated: GeneratedSettings = Field(default_factory=GeneratedSettings, description="a second, generated graph")
    overrides: tuple[str, ...] = Field((), description="further dotted.key=value for the night")


def run(overrides: Sequence[str], say: Say) -> dict[str, Any]:
    """A row a system with its training speed, the race to EASE's NDCG@10, and, if asked for, a generated graph's row.

    `ratios` are kgspark's triples a second over those of KGTrainer with its uniform sampler, and its negatives a second
    over those of tgraphx's filtered sampler.
    """
    settings = config.from_overrides(TrainBenchSettings, overrides)
    train = settings.train.resolved()
    device = str(pick_device(train))
    say(f"bench train: {settings.source}, {train.model} of {train.dim} dimensions on {device}")
    with tempfile.TemporaryDirectory(prefix="kgspark-bench-") as scratch:
        # Spark is stopped before anything is timed; its tables stay.
        given = {"train": settings.train.model_dump()}
        with open_night(night_settings(settings.source, Path(scratch), settings.overrides, given), say) as night:
            for stage in (clean_ratings, index_entities, write_triples):
                stage.run(night)
        graph = read_graph(night.run.table(TRIPLES), entity_layout(night), relations_of(night))
        # The race comes first: as in a night, what a process pays once is on its clock.
        race = _race(night, graph, say)
        learned = graph.without_zero_weights()
        speeds = _speeds(night, settings, learned, say)
        samplers = _samplers(night, settings, learned, say)
    generated = _generated(settings, say) if settings.generated.ratings else []
    rates = {row["system"]: row["triples_per_second"] for row in speeds}
    ratios = {name: rates[name] / rates[KGTRAINER] for name in (STOCK, OURS)}
    say("times KGTrainer's triples a second: " + "; ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()))
    drawn = {row["system"]: row["triples_per_second"] for row in samplers}
    ratios[OUR_NEGATIVES] = drawn[OUR_NEGATIVES] / drawn[THEIR_NEGATIVES]
    say(f"{OUR_NEGATIVES}: {ratios[OUR_NEGATIVES]:.0f} times tgraphx's")
    return {
        "bench": "train",
        "settings": settings.model_dump(mode="json"),
        "device": device,
        "cores": usable_cores(),
        "ratios": ratios,
        "race": race,
        "rows": speeds + samplers + generated,
        "versions": versions(),
    }


def _speeds(night: Night, settings: TrainBenchSettings, graph: Graph, say: Say) -> list[Row]:
    """Epochs of every system in turn; all train the night's train split, or a sample of it."""
    train = night.settings.train.resolved()
    stock = speed.stock_settings(train, settings.batch_size)
    some = speed.sample(graph, settings.sample, train.seed)
    systems: dict[str, speed.Contestant] = {
        KGTRAINER: speed.KGTrainerEpochs(some, stock),
        STOCK: speed.KgsparkEpochs(some, stock),
        OURS: speed.KgsparkEpochs(graph, train),
    }
    if settings.filtered_sample:
        few = speed.sample(graph, settings.filtered_sample, train.seed)
        systems[KGTRAINER_FILTERED] = speed.KGTrainerEpochs(few, stock, known=graph)
    of_ours = "each train triple of the night once, against every tail of its kind"
    if train.objective != "softmax" or train.sample_size:
        of_ours = "each train triple of the night once"
    one_negative = f"each of a sample of train triples once, against one negative, {settings.batch_size} a step"
    epochs = dict.fromkeys(systems, one_negative) | {OURS: of_ours}
    found = speed.in_turn(list(systems.values()), settings.rounds)
    return [_speed_row(name, epochs[name], one, say) for name, one in zip(systems, found, strict=True)]


def _samplers(night: Night, settings: TrainBenchSettings, graph: Graph, say: Say) -> list[Row]:
    """Typed, filtered negatives of both, in turn; tgraphx's of a sample of positives, because it draws one by one."""
    train = night.settings.train.resolved()
    few = speed.sample(graph, max(settings.filtered_sample, 1), train.seed)
    systems: dict[str, speed.Contestant] = {
        THEIR_NEGATIVES: speed.TgraphxNegatives(few, graph),
        OUR_NEGATIVES: speed.OurNegatives(graph, train),
    }
    found = speed.in_turn(list(systems.values()), settings.rounds)
    about = "one negative for each positive: of the right kind, and no known triple"
    return [_speed_row(name, about, one, say) for name, one in zip(systems, found, strict=True)]


def _generated(settings: TrainBenchSettings, say: Say) -> list[Row]:
    size = settings.generated
    about = f"{size.ratings:,} generated likes of {size.users:,} users and {size.movies:,} movies, each once"
    return [_speed_row(GENERATED, about, speed.generated_speed(size, settings.train.resolved(), settings.rounds), say)]


def _speed_row(name: str, epoch: str, found: speed.Speed, say: Say) -> Row:
    seconds = statistics.median(found.seconds)
    row: Row = {"system": name, "epoch": epoch, "triples": found.triples, "seconds": seconds}
    row |= {"triples_per_second": found.triples / seconds, "rounds": list(found.seconds)}
    used = asdict(found.usage) if found.usage else {}
    say(
        f"{name:<40}{found.triples:>12,} triples{seconds:9.2f} s{row['triples_per_second']:>14,.0f} a second"
        + "".join(f"   {figure.replace('_', ' ')} {_short(figure, value)}" for figure, value in used.items() if value)
    )
    return row | used


def _short(figure: str, value: float) -> str:
    return f"{value / 2**30:.1f} GiB" if figure.endswith("bytes") else f"{value:.0%}"


def _race(night: Night, graph: Graph, say: Say) -> dict[str, Any]:
    """Seconds of training until EASE's NDCG@10 on the test likes is reached.

    Both learn the train and validation likes, and both leave them out of the lists: one split, one mask, one measure.
    Test figures are looked at after every epoch, but nothing is chosen by them: settings are fixed beforehand, all
    epochs run, and the answer is a time. It says nothing of how a model should be chosen.
    """
    held_out = read_held_out(night)
    started = time.perf_counter()
    ease = baselines.fit(night, held_out, "ease")
    fitted = time.perf_counter() - started
    target = _ndcg(ease, held_out, night)
    say(f"EASE: NDCG@10 {target:.4f} after {fitted:.1f} s")

    def score(space: SearchSpace) -> float:
        return _ndcg(SpaceRecommender(space, usable_cores()), held_out, night)

    laps = speed.race(graph, night.settings.train.resolved(), (TRAIN, VALID), score)
    first, last = speed.first_at(laps, target), laps[-1]
    reached = f"reached EASE's after {first.seconds:.1f} s, epoch {first.epoch}" if first else "did not reach EASE's"
    say(f"kgspark: NDCG@10 {last.score:.4f} after {last.seconds:.1f} s, {last.epoch} epochs; {reached}")
    return {
        "target": _FIGURE,
        "ease": {_FIGURE: target, "fit_seconds": fitted},
        "seconds_to_ease": first.seconds if first else None,
        "epochs_to_ease": first.epoch if first else None,
        "final": {_FIGURE: last.score, "seconds": last.seconds, "epochs": last.epoch},
        "laps": [asdict(lap) for lap in laps],
        "data": held_out.to_json(),
    }


def _ndcg(recommender: Recommender, held_out: HeldOut, night: Night) -> float:
    return float(measure(recommender, held_out, night.settings.evaluate).by_user[_FIGURE].mean())
