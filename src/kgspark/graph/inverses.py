"""Every relation the other way round, as a relation of its own (Lacroix et al. 2018, section 5: reciprocals)."""

from collections.abc import Sequence

from kgspark.graph.shards import Pairs, TripleSet, sorted_pairs
from kgspark.tables import Relation

# What an inverse is called: no relation of a configuration ends so.
SUFFIX = "⁻¹"


def with_inverses(triples: TripleSet, relations: Sequence[Relation]) -> tuple[TripleSet, list[Relation]]:
    """The graph with, for each of R relations, number R + its own from tail to head, of the same splits and weights."""
    count = len(relations)
    inverses = [
        Relation(count + relation.index, relation.name + SUFFIX, relation.tail_kind, relation.head_kind)
        for relation in relations
    ]
    parts = dict(triples.parts)
    for (split, index), pairs in triples.parts.items():
        parts[split, count + index] = _turned(pairs)
    return TripleSet(parts), [*relations, *inverses]


def _turned(pairs: Pairs) -> Pairs:
    return sorted_pairs(pairs.tails, pairs.heads, pairs.weights, pairs.times)
