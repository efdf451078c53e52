"""What two movies have in common in the knowledge graph: paths of one or two triples between them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kgspark.answers.material import Material, MovieFacts
from kgspark.graph.layout import MOVIE


@dataclass(frozen=True)
class SharedFact:
    """A path from a liked movie to the explained one, over one entity or directly.

    relation  of both movies to `entity`; or of one movie to the other, if `direct`
    entity    the entity's external id, or for a direct one the title of the other movie
    """

    relation: str
    entity: str
    direct: bool = False


def shared_facts(material: Material, movie: int, liked: Sequence[int]) -> dict[int, tuple[SharedFact, ...]]:
    """The paths of length one and two from each liked movie to the movie, in the order of the relations."""
    facts = material.facts(np.unique([*liked, movie]))
    of_movie = _facts_of(facts, movie)
    ids = {row: str(material.movie_ids[row].as_py()) for row in (movie, *liked)}
    titles = material.titles()
    named = {row: titles.get(material.movie_ids[row].as_py(), ids[row]) for row in ids}
    shared = {}
    for row in liked:
        of_like = _facts_of(facts, row)
        direct = [
            SharedFact(relation, named[other], direct=True)
            for found, other in ((of_like, movie), (of_movie, row))
            for relation, kind, tail in found
            if kind == MOVIE and tail == ids[other]
        ]
        common = [
            SharedFact(relation, tail)
            for relation, kind, tail in of_movie
            if kind != MOVIE and (relation, kind, tail) in of_like
        ]
        shared[row] = tuple(dict.fromkeys([*common, *_once(direct)]))
    return shared


def _once(direct: list[SharedFact]) -> list[SharedFact]:
    """One of two triples of the same relation between the same two movies."""
    return list({fact.relation: fact for fact in direct}.values())


def _facts_of(facts: MovieFacts, movie: int) -> dict[tuple[str, str, str], None]:
    rows = np.flatnonzero(facts.heads == movie)
    return {(facts.relations[row], facts.kinds[row], facts.tails[row]): None for row in rows}
