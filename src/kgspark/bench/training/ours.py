"""kgspark's own training as a contestant, its race to a target score, and its speed on a generated graph."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kgspark.bench.generated import GeneratedSettings, generated_likes
from kgspark.bench.training.clock import Speed, now, speeds_in_turn
from kgspark.bench.training.usage import usage_of
from kgspark.graph.graph import Graph
from kgspark.kge.device import pick_device, reproducible
from kgspark.kge.export.search_space import export_search_space
from kgspark.kge.settings import TrainSettings
from kgspark.kge.training.plan import TrainingPlan
from kgspark.kge.training.state import TrainingState
from kgspark.search_space import SearchSpace
from kgspark.tables import TRAIN


class KgsparkEpochs:
    """kgspark's own training, one epoch at a time, without its validation and checkpoints.

    initial_seconds  seconds to make the first vectors and to arrange the triples
    """

    def __init__(self, graph: Graph, settings: TrainSettings, splits: Sequence[str] = (TRAIN,)) -> None:
        """StageError if the device or the target relation is missing."""
        self.settings, self.device = settings, pick_device(settings)
        self.plan = TrainingPlan(graph, settings)
        self.triples = sum(len(graph.pairs(relation, splits)) for relation in graph.relations)
        self.losses: list[float] = []
        begun = now(self.device)
        with reproducible(settings, self.device):
            model = self.plan.new_model(splits, self.device, None)
            self.state = TrainingState(model, self.plan.objective(model, splits), settings)
        self.initial_seconds = now(self.device) - begun

    def epoch(self) -> float:
        """Trains one epoch, each triple of the splits once; returns its seconds."""
        done = len(self.losses)
        with reproducible(self.settings, self.device):
            begun = now(self.device)
            self.losses.append(self.state.objective.epoch(done + 1, self.plan.rate_after(done)))
            self.state.average_weights(done)
            return now(self.device) - begun


@dataclass(frozen=True)
class Lap:
    """The state after an epoch: the seconds so far, with initialisation, and the score of the vectors."""

    epoch: int
    seconds: float
    score: float


def race(
    graph: Graph,
    settings: TrainSettings,
    splits: Sequence[str],
    score: Callable[[SearchSpace], float],
) -> list[Lap]:
    """Trains on `splits` for all of `settings.epochs`; after each, the clock stops and `score` rates the vectors."""
    run = KgsparkEpochs(graph, settings, splits)
    unrefitted = settings.model_copy(update={"refit": "none"})
    seconds, laps = run.initial_seconds, []
    for epoch in range(1, settings.epochs + 1):
        seconds += run.epoch()
        with run.state.averaged():
            space = export_search_space(run.state.model, graph, unrefitted)
        laps.append(Lap(epoch, seconds, score(space)))
    return laps


def first_at(laps: Sequence[Lap], score: float) -> Lap | None:
    """The first lap whose score is at least `score`; None if no lap has it."""
    return next((lap for lap in laps if lap.score >= score), None)


def generated_speed(generated: GeneratedSettings, settings: TrainSettings, rounds: int) -> Speed:
    """Epochs of `settings`' objective over a generated graph, with the peak memory of one more epoch."""
    graph = generated_likes(generated, settings.target)
    # The first vectors are not part of an epoch, and the truncated SVD of a large graph would take longer than an
    # epoch.
    changes = {"init": "normal", "negatives": generated.negatives}
    run = KgsparkEpochs(graph, settings.model_copy(update=changes))
    speed = speeds_in_turn({"generated": run}, rounds)["generated"]
    return replace(speed, usage=usage_of(run.epoch, run.device))
