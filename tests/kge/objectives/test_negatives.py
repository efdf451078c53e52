"""Negatives have the distribution of tgraphx's own samplers; filtered ones are never a known triple."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency
from tgraphx.kg.sampling import (
    BernoulliNegativeSampler,
    FilteredNegativeSampler,
    TypedNegativeSampler,
    UniformNegativeSampler,
)

from kgspark.errors import StageError
from kgspark.graph.graph import Graph
from kgspark.graph.layout import EntityLayout
from kgspark.graph.relation import Relation
from kgspark.graph.triples import TripleSet
from kgspark.kge.objectives.negatives import NegativeSampler, head_probabilities
from worlds.graphs import settings

LAYOUT = EntityLayout.from_counts([("user", 3), ("movie", 5), ("genre", 2)])
RELATIONS = [Relation(0, "liked", "user", "movie"), Relation(1, "has_genre", "movie", "genre")]
KNOWN = torch.tensor(
    [[0, 0, 3], [0, 0, 4], [0, 0, 6], [1, 0, 3], [2, 0, 3], [2, 0, 7], [3, 1, 8], [4, 1, 8], [5, 1, 9]]
)
DRAWS = 4000


def sampler(known=KNOWN, layout=LAYOUT, relations=RELATIONS, **changes):
    return NegativeSampler(known, Graph(TripleSet({}), layout, relations), settings(objective="softplus", **changes))


def counted(triples: torch.Tensor) -> dict[tuple[int, int, int], int]:
    """The number of occurrences of each triple of (…, 3)."""
    found, counts = torch.unique(triples.reshape(-1, 3), dim=0, return_counts=True)
    return {tuple(row): int(count) for row, count in zip(found.tolist(), counts, strict=True)}


def theirs(name: str, filtered: bool):
    count = LAYOUT.size
    ranges = {relation.index: torch.arange(*LAYOUT.range(relation.tail_kind)) for relation in RELATIONS}
    domains = {relation.index: torch.arange(*LAYOUT.range(relation.head_kind)) for relation in RELATIONS}
    base = {
        "uniform": lambda k: UniformNegativeSampler(count, k),
        "bernoulli": lambda k: BernoulliNegativeSampler(count, k, KNOWN),
        "typed": lambda k: TypedNegativeSampler(count, k, domains=domains, ranges=ranges),
    }[name]
    if not filtered:
        return base(DRAWS)
    return FilteredNegativeSampler(count, DRAWS, {tuple(row) for row in KNOWN.tolist()}, base(1))


@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("name", ["uniform", "bernoulli", "typed"])
def test_negatives_are_distributed_as_tgraphxs(name, filtered):
    generator = torch.Generator().manual_seed(5)
    for positive in (KNOWN[:1], KNOWN[7:8]):
        ours = sampler(sampler=name, filtered=filtered, negatives=DRAWS).draw(positive, generator)
        expected = counted(theirs(name, filtered).sample(positive, generator))
        found = counted(ours.triples(positive))
        assert set(found) == set(expected)  # 4,000 draws find all of at most 20 triples
        table = [[counts.get(triple, 0) for triple in sorted(expected)] for counts in (found, expected)]
        assert chi2_contingency(table).pvalue > 1e-3


def test_bernoulli_probabilities_are_tgraphxs():
    expected = BernoulliNegativeSampler(LAYOUT.size, 1, KNOWN)._rel_prob
    torch.testing.assert_close(head_probabilities(KNOWN, 2), expected)
    assert head_probabilities(KNOWN, 3)[2] == 0.5  # a relation without triples


GRAPHS = st.builds(
    lambda users, movies, keep: (users, movies, [pair for pair, kept in keep.items() if kept]),
    st.integers(1, 5),
    st.integers(1, 6),
    st.dictionaries(st.tuples(st.integers(0, 4), st.integers(0, 5)), st.booleans(), min_size=1),
)


@hypothesis_settings(max_examples=60, deadline=None)
@given(graph=GRAPHS, name=st.sampled_from(["uniform", "bernoulli", "typed"]), heads=st.sampled_from([0.0, 0.5, 1.0]))
def test_filtered_negatives_are_all_the_unknown_triples_and_no_other(graph, name, heads):
    users, movies, pairs = graph
    rows = [(user, 0, users + movie) for user, movie in pairs if user < users and movie < movies]
    if not rows:
        return
    known = torch.tensor(rows)
    layout = EntityLayout.from_counts([("user", users), ("movie", movies)])
    drawing = sampler(known, layout, RELATIONS[:1], sampler=name, filtered=True, negatives=300, corrupt_heads=heads)
    share = float(head_probabilities(known, 1)[0]) if name == "bernoulli" else heads
    everyone = range(layout.size)
    user_range, movie_range = (range(users), range(users, layout.size)) if name == "typed" else (everyone, everyone)
    for row, positive, drawable in zip(rows, known, drawing.drawable(known).tolist(), strict=True):
        possible = {(h, 0, row[2]) for h in user_range if share > 0} | {
            (row[0], 0, t) for t in movie_range if share < 1
        }
        possible -= set(rows)
        assert drawable == bool(possible)
        if possible:
            drawn = drawing.draw(positive[None], torch.Generator().manual_seed(1))
            assert set(counted(drawn.triples(positive[None]))) <= possible
            if 0.2 < share < 0.8 or len(possible) < 4:
                assert set(counted(drawn.triples(positive[None]))) == possible


def test_a_batch_is_drawn_as_its_rows_are():
    """Every row of a batch has its own candidates."""
    drawing = sampler(sampler="typed", filtered=True, negatives=200)
    triples = drawing.draw(KNOWN, torch.Generator().manual_seed(2)).triples(KNOWN)
    known = {tuple(row) for row in KNOWN.tolist()}
    for positive, negatives in zip(KNOWN.tolist(), triples, strict=True):
        for head, relation, tail in counted(negatives):
            assert relation == positive[1]
            assert (head == positive[0]) != (tail == positive[2])
            assert (head, relation, tail) not in known


def test_a_graph_beyond_64_bits_is_refused():
    huge = EntityLayout.from_counts([("user", 2_000_000_000), ("movie", 2_000_000_000)])
    with pytest.raises(StageError, match=r"train\.filtered: .* 64-bit keys; set train\.filtered=false"):
        sampler(KNOWN[:6], huge, RELATIONS[:1], filtered=True)


def test_one_seed_draws_the_same_negatives():
    drawing = sampler(negatives=50)
    first, again = (drawing.draw(KNOWN, torch.Generator().manual_seed(3)) for _ in range(2))
    other = drawing.draw(KNOWN, torch.Generator().manual_seed(4))
    assert torch.equal(first.entities, again.entities)
    assert not torch.equal(first.entities, other.entities)
    assert np.isin(first.entities, np.arange(LAYOUT.size)).all()
