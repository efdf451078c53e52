"""bench train: training speed compared with tgraphx's KGTrainer, and the seconds that training needs to reach EASE."""

import statistics
from dataclasses import asdict
from pathlib import Path

from pydantic import Field

from kgspark.bench.common import BUNDLED, Row, Say, Source, night_settings, scratch_folder, timed, write_graph
from kgspark.bench.generated import GeneratedSettings
from kgspark.bench.training.clock import Contestant, Speed, speeds_in_turn
from kgspark.bench.training.kgtrainer import KGTrainerEpochs, stock_settings
from kgspark.bench.training.negatives import OurNegatives, TgraphxNegatives
from kgspark.bench.training.ours import KgsparkEpochs, first_at, generated_speed, race
from kgspark.bench.training.triples import sample_triples
from kgspark.config import Settings
from kgspark.experiments.evaluate import fit_on
from kgspark.graph.graph import Graph
from kgspark.kge.device import pick_device
from kgspark.kge.settings import TrainSection, TrainSettings
from kgspark.night.held_out import HeldOut, measure, read_held_out
from kgspark.night.night import Night, open_night
from kgspark.night.reads import knowledge_graph
from kgspark.peers.baselines import Recommender
from kgspark.retrieval.space_recommender import SpaceRecommender
from kgspark.search_space import SearchSpace
from kgspark.spark.session import usable_cores
from kgspark.tables import TRAIN, VALID

KGTRAINER, KGTRAINER_FILTERED = "tgraphx KGTrainer", "tgraphx KGTrainer, filtered negatives"
STOCK, OURS, GENERATED = "kgspark, KGTrainer's objective", "kgspark", "kgspark, generated graph"
THEIR_NEGATIVES, OUR_NEGATIVES = "tgraphx, filtered typed negatives", "kgspark, filtered typed negatives"
_FIGURE = "ndcg@10"


class TrainBenchSettings(Settings):
    """`kgspark bench train`: triples per second, and seconds to a quality."""

    source: Source = BUNDLED
    rounds: int = Field(3, ge=1, description="timed epochs of each system, in turn; the medians are reported")
    sample: int = Field(20_000, ge=1, description="train triples that KGTrainer and its objective in kgspark train")
    filtered_sample: int = Field(2_000, ge=0, description="the same with KGTrainer's filtered sampler; 0 leaves it out")
    batch_size: int = Field(512, ge=1, description="triples per step of KGTrainer and of its objective in kgspark")
    train: TrainSection = Field(default_factory=TrainSection, description="as a night's train section")
    generated: GeneratedSettings = Field(default_factory=GeneratedSettings, description="a second, generated graph")
    overrides: tuple[str, ...] = Field((), description="further dotted.key=value for the night")


SETTINGS = TrainBenchSettings


def run(settings: TrainBenchSettings, say: Say) -> Row:
    """One row per system with its training speed, the race to EASE's NDCG@10, and a row of the generated graph, if any.

    `ratios` are kgspark's triples per second over those of KGTrainer with its uniform sampler, and its negatives per
    second over those of tgraphx's filtered sampler.
    """
    train = settings.train.resolved()
    device = str(pick_device(train))
    say(f"bench train: {settings.source}, {train.model} of {train.dim} dimensions on {device}")
    with scratch_folder() as scratch:
        night = _write_night(settings, scratch, say)
        graph = knowledge_graph(night)
        # The race comes first: as in a night, its time includes the costs that occur once per process.
        against_ease = _race(night, graph, say)
        train = night.settings.train.resolved()
        learned = graph.without_zero_weights()
        speeds = _speeds(settings, train, learned, say)
        samplers = _samplers(settings, train, learned, say)
    generated = [_generated_row(settings, say)] if settings.generated.ratings else []
    return {
        "device": device,
        "ratios": _ratios(speeds, samplers, say),
        "race": against_ease,
        "rows": speeds + samplers + generated,
    }


def _write_night(settings: TrainBenchSettings, scratch: Path, say: Say) -> Night:
    """A night with its triples written. Spark is stopped, so that it does not disturb the measurements."""
    given = {"train": settings.train.model_dump()}
    with open_night(night_settings(settings.source, scratch, settings.overrides, given), say) as night:
        write_graph(night)
    return night


def _ratios(speeds: list[Row], samplers: list[Row], say: Say) -> Row:
    rates = {row["system"]: row["triples_per_second"] for row in speeds + samplers}
    ratios = {name: rates[name] / rates[KGTRAINER] for name in (STOCK, OURS)}
    say("times KGTrainer's triples per second: " + "; ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()))
    negatives = rates[OUR_NEGATIVES] / rates[THEIR_NEGATIVES]
    say(f"{OUR_NEGATIVES}: {negatives:.0f} times tgraphx's")
    return ratios | {OUR_NEGATIVES: negatives}


def _speeds(settings: TrainBenchSettings, train: TrainSettings, graph: Graph, say: Say) -> list[Row]:
    """Epochs of all systems in turn; each trains the night's train split, or a sample of it."""
    stock = stock_settings(train, settings.batch_size)
    some = sample_triples(graph, settings.sample, train.seed)
    systems: dict[str, Contestant] = {
        KGTRAINER: KGTrainerEpochs(some, stock),
        STOCK: KgsparkEpochs(some, stock),
        OURS: KgsparkEpochs(graph, train),
    }
    if settings.filtered_sample:
        few = sample_triples(graph, settings.filtered_sample, train.seed)
        systems[KGTRAINER_FILTERED] = KGTrainerEpochs(few, stock, known=graph)
    of_ours = "each train triple of the night once, against every tail of its kind"
    if train.objective != "softmax" or train.sample_size:
        of_ours = "each train triple of the night once"
    one_negative = f"each of a sample of train triples once, against one negative, {settings.batch_size} per step"
    epochs = dict.fromkeys(systems, one_negative) | {OURS: of_ours}
    found = speeds_in_turn(systems, settings.rounds)
    return [_speed_row(name, epochs[name], speed, say) for name, speed in found.items()]


def _samplers(settings: TrainBenchSettings, train: TrainSettings, graph: Graph, say: Say) -> list[Row]:
    """Typed, filtered negatives of both, in turn; tgraphx's for a sample of positives, because it draws one by one."""
    few = sample_triples(graph, max(settings.filtered_sample, 1), train.seed)
    systems: dict[str, Contestant] = {
        THEIR_NEGATIVES: TgraphxNegatives(few, graph),
        OUR_NEGATIVES: OurNegatives(graph, train),
    }
    about = "one negative for each positive: of the right kind, and no known triple"
    found = speeds_in_turn(systems, settings.rounds)
    return [_speed_row(name, about, speed, say) for name, speed in found.items()]


def _generated_row(settings: TrainBenchSettings, say: Say) -> Row:
    size = settings.generated
    about = f"{size.ratings:,} generated likes of {size.users:,} users and {size.movies:,} movies, each once"
    return _speed_row(GENERATED, about, generated_speed(size, settings.train.resolved(), settings.rounds), say)


def _speed_row(name: str, epoch: str, found: Speed, say: Say) -> Row:
    seconds = statistics.median(found.seconds)
    row: Row = {"system": name, "epoch": epoch, "triples": found.triples, "seconds": seconds}
    row |= {"triples_per_second": found.triples / seconds, "rounds": list(found.seconds)}
    used = asdict(found.usage) if found.usage else {}
    say(
        f"{name:<40}{found.triples:>12,} triples{seconds:9.2f} s{row['triples_per_second']:>14,.0f} per second"
        + "".join(f"   {figure.replace('_', ' ')} {_short(figure, value)}" for figure, value in used.items() if value)
    )
    return row | used


def _short(figure: str, value: float) -> str:
    return f"{value / 2**30:.1f} GiB" if figure.endswith("bytes") else f"{value:.0%}"


def _race(night: Night, graph: Graph, say: Say) -> Row:
    """Seconds of training until EASE's NDCG@10 on the test likes is reached.

    Both learn the train and validation likes, and both leave them out of the lists: one split, one mask, one measure.
    The test likes are evaluated after every epoch, but nothing is chosen by them: settings are fixed beforehand, all
    epochs run, and the result is a time.
    """
    held_out = read_held_out(night)
    ease = timed(lambda: fit_on("ease", night, held_out))
    target = _ndcg(ease.answer, held_out, night)
    say(f"EASE: NDCG@10 {target:.4f} after {ease.seconds:.1f} s")

    def score(space: SearchSpace) -> float:
        return _ndcg(SpaceRecommender(space, usable_cores()), held_out, night)

    laps = race(graph, night.settings.train.resolved(), (TRAIN, VALID), score)
    first, last = first_at(laps, target), laps[-1]
    reached = f"reached EASE's after {first.seconds:.1f} s, epoch {first.epoch}" if first else "did not reach EASE's"
    say(f"kgspark: NDCG@10 {last.score:.4f} after {last.seconds:.1f} s, {last.epoch} epochs; {reached}")
    return {
        "target": _FIGURE,
        "ease": {_FIGURE: target, "fit_seconds": ease.seconds},
        "seconds_to_ease": first.seconds if first else None,
        "epochs_to_ease": first.epoch if first else None,
        "final": {_FIGURE: last.score, "seconds": last.seconds, "epochs": last.epoch},
        "laps": [asdict(lap) for lap in laps],
        "data": held_out.to_json(),
    }


def _ndcg(recommender: Recommender, held_out: HeldOut, night: Night) -> float:
    return float(measure(recommender, held_out, night.settings.evaluate).by_user[_FIGURE].mean())
