"""What the vector of each entity was trained on. Only vectors that were trained on likes may rank as the model's own.

Evidence is an array uint8 (entities,), which a model file holds beside the weights:

NOTHING  no training had the entity: it arrived after the training whose model is served
TRIPLES  triples of other relations; a user without likes, a movie that nobody rated but that has facts
LIKES    likes; a movie without ratings and without facts counts too, because it was sampled as a negative
"""

from collections.abc import Sequence

import numpy as np

from kgspark.graph.graph import Graph
from kgspark.graph.relation import Relation
from kgspark.kge.settings import TrainSettings
from kgspark.tables import TRAIN

NOTHING, TRIPLES, LIKES = range(3)


def evidence_of(graph: Graph, settings: TrainSettings, splits: Sequence[str]) -> np.ndarray:
    """The evidence of a model that was trained on the graph, with the likes of `splits`."""
    target = graph.relation(settings.target)
    evidence = np.full(graph.layout.size, TRIPLES, np.uint8)
    liking = graph.histories(target, splits).sizes > 0
    from_facts = unrated(graph, target, splits) & have_facts(target.tail_kind, graph, settings)
    for kind, learned in ((target.head_kind, liking), (target.tail_kind, ~from_facts)):
        evidence[slice(*graph.layout.range(kind))][learned] = LIKES
    return evidence


def fact_relations(kind: str, graph: Graph, settings: TrainSettings) -> list[Relation]:
    """The relations that state facts of a kind's entities in the train triples."""
    return [
        relation
        for relation in graph.relations
        if relation.head_kind == kind
        and relation.name != settings.target
        and not relation.of_likes
        and len(graph.pairs(relation))
    ]


def have_facts(kind: str, graph: Graph, settings: TrainSettings) -> np.ndarray:
    """Mask bool (entities of the kind,) of those that have any fact."""
    found = np.zeros(graph.layout.count(kind), bool)
    for relation in fact_relations(kind, graph, settings):
        found |= graph.histories(relation).sizes > 0
    return found


def unrated(graph: Graph, target: Relation, splits: Sequence[str]) -> np.ndarray:
    """Mask bool (movies,) of the movies without a rating; of the likes, only those of `splits` count."""
    start, stop = graph.layout.range(target.tail_kind)
    rated = np.zeros(stop - start, bool)
    for relation in graph.relations:
        if (relation.head_kind, relation.tail_kind) == (target.head_kind, target.tail_kind):
            rated[graph.pairs(relation, splits if relation == target else (TRAIN,)).tails - start] = True
    return ~rated
