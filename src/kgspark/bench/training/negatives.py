"""The samplers of negatives as contestants: one typed, filtered negative for each train triple."""

from time import perf_counter

import torch
from tgraphx.kg.sampling import FilteredNegativeSampler, TypedNegativeSampler

from kgspark.bench.training.clock import now
from kgspark.bench.training.triples import train_rows
from kgspark.graph.graph import Graph
from kgspark.kge.device import pick_device
from kgspark.kge.objectives.negatives import NegativeSampler
from kgspark.kge.settings import TrainSettings


class OurNegatives:
    """Draws of one typed, filtered negative for each triple, on the training device."""

    def __init__(self, graph: Graph, settings: TrainSettings) -> None:
        """Negatives of all train triples of `graph`, in one batch; an epoch is one draw for each."""
        self.device, self.triples = pick_device(settings), 0
        self.losses: list[float] = []
        chosen = settings.model_copy(update={"sampler": "typed", "filtered": True, "negatives": 1})
        known = train_rows(graph).to(self.device)
        self.sampler = NegativeSampler(known, graph, chosen)
        self.positives = known[self.sampler.drawable(known)]
        self.triples = len(self.positives)
        self.generator = torch.Generator(self.device).manual_seed(settings.seed)

    def epoch(self) -> float:
        """Draws all of them; returns the seconds."""
        begun = now(self.device)
        self.sampler.draw(self.positives, self.generator)
        return now(self.device) - begun


class TgraphxNegatives:
    """The same draws by tgraphx's FilteredNegativeSampler over its TypedNegativeSampler, which work on the CPU."""

    def __init__(self, some: Graph, known: Graph) -> None:
        """Negatives of the train triples of `some`; no negative is a triple of `known`."""
        self.device, self.losses = torch.device("cpu"), list[float]()
        ends, layout = ("head_kind", "tail_kind"), known.layout
        domains, ranges = (
            {relation.index: torch.arange(*layout.range(getattr(relation, end))) for relation in known.relations}
            for end in ends
        )
        typed = TypedNegativeSampler(layout.size, 1, domains=domains, ranges=ranges)
        self.sampler = FilteredNegativeSampler(layout.size, 1, set(map(tuple, train_rows(known).tolist())), typed)
        self.positives = train_rows(some)
        self.triples = len(self.positives)

    def epoch(self) -> float:
        """Draws all of them; returns the seconds."""
        begun = perf_counter()
        self.sampler.sample(self.positives)
        return perf_counter() - begun
