"""The knowledge graph: entities of each kind, triples of each relation, and what surrounds the chosen users."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kgspark.report.night_page.chart import Chart, Series
from kgspark.report.night_page.lists import UserLists
from kgspark.report.night_page.movies import PageMovies
from kgspark.report.night_page.night import PageNight
from kgspark.report.night_page.triples import facts_of
from kgspark.tables import TEST, TRAIN, TRIPLES, VALID

# Movies that are drawn around a user.
AROUND = 12


def charts(night: PageNight) -> dict[str, Chart]:
    """Rows of bars: entities by kind, and triples by relation and split."""
    kinds = list(night.layout.ranges)
    entities = [night.layout.count(kind) for kind in kinds]
    counts = night.run.manifest(TRIPLES).details["counts"]
    rows = {(it["relation"], it["split"]): it["rows"] for it in counts}
    names = [relation.name for relation in night.relations]
    splits = [(TRAIN, "main", "to learn"), (VALID, "other", "to choose by"), (TEST, "past", "to measure by")]
    series = [Series(word, [rows.get((name, split), 0) for name in names], tone) for split, tone, word in splits]  # type: ignore[arg-type]
    return {
        "entities": Chart("rows", [night.names.of_kind(kind) for kind in kinds], [Series("entities", entities)]),
        "triples": Chart("rows", names, series),
    }


def surroundings(night: PageNight, lists: Sequence[UserLists], movies: PageMovies) -> dict[str, Any]:
    """The facts of the best liked movies of the chosen users.

    facts  by number of a movie on the page: pairs of a relation and an entity, as numbers into the two other lists
    relations, entities  names of the relations; name and kind of each entity
    """
    liked = {row[0] for user in lists for row in user.liked[:AROUND]}
    found = facts_of(night, np.array(sorted(liked), np.int64))
    entities = sorted(found.names)
    places = {entity: place for place, entity in enumerate(entities)}
    relations = sorted({int(row[1]) for row in found.of_movies})
    facts: dict[str, list[list[int]]] = {}
    for movie, relation, entity in found.of_movies.tolist():
        number = str(movies.numbers[movie])
        if entity in places:
            facts.setdefault(number, []).append([relations.index(relation), places[entity]])
    names = {relation.index: relation.name for relation in night.relations}
    return {
        "facts": facts,
        "relations": [names[relation] for relation in relations],
        "entities": [[found.names[it], night.names.of_kind(found.kinds[it])] for it in entities],
        "target": night.target,
    }
