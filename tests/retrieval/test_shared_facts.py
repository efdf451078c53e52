"""Reasons name the rarest fact that both movies have, and their texts say so."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgspark.retrieval.reason_templates import check_template
from kgspark.retrieval.reason_texts import ReasonTexts
from kgspark.retrieval.shared_facts import MovieFacts, load_facts, write_facts
from kgspark.tables import ROW_SOURCES

# (movie, relation, entity) of 5 movies; entity 9 and 8 have other texts.
FACTS = [(0, 0, 8), (1, 0, 8), (2, 0, 8), (0, 1, 9), (1, 1, 9), (2, 1, 7), (3, 1, 7), (3, 1, 6)]
NAMES, TEXTS = ["has_genre", "tagged"], {8: "Drama", 9: "noir", 7: "space", 6: "alone"}


def _write(folder: Path, facts: list[tuple[int, int, int]], movies: int) -> MovieFacts:
    columns = list(zip(*facts, strict=True)) or [(), (), ()]
    rows = {
        "position": pa.array(columns[0], pa.int64()),
        "relation": pa.array(columns[1], pa.int32()),
        "name": pa.array([NAMES[relation] for relation in columns[1]], pa.string()),
        "entity": pa.array(columns[2], pa.int64()),
        "external_id": pa.array([TEXTS.get(entity, str(entity)) for entity in columns[2]], pa.string()),
    }
    titles = {"position": list(range(movies))[::-1], "title": [f"Film {m}" for m in range(movies)][::-1]}
    for name, table in (("facts", pa.table(rows)), ("titles", pa.table(titles))):
        (folder / name).mkdir()
        pq.write_table(table, folder / name / "part-00000.parquet")
    write_facts(folder / "out", folder / "facts", folder / "titles", movies)
    return load_facts(folder / "out")


@settings(max_examples=60, deadline=None)
@given(st.sets(st.tuples(st.integers(0, 8), st.integers(0, 1), st.integers(0, 5))), st.integers(0, 99))
def test_the_rarest_shared_fact_is_found(tmp_path_factory, facts, seed) -> None:
    of_movies = _write(tmp_path_factory.mktemp("facts"), sorted(facts), 9)
    movies, others = np.random.default_rng(seed).integers(-1, 9, (2, 40))
    size = {fact: sum(fact == (r, e) for _, r, e in facts) for fact in {(r, e) for _, r, e in facts}}
    found = of_movies.shared(movies, others)
    for movie, other, place in zip(movies, others, found, strict=True):
        both = [(r, e) for m, r, e in facts if m == movie and size[r, e] > 1 and (other, r, e) in facts]
        expected = min(both, key=lambda fact: (size[fact], fact), default=None) if movie >= 0 else None
        got = None if place < 0 else (of_movies.relations[place].as_py(), of_movies.entities[place].as_py())
        assert got == (None if expected is None else (NAMES[expected[0]], TEXTS.get(expected[1], str(expected[1]))))


def test_texts_follow_their_case(tmp_path: Path) -> None:
    facts = _write(tmp_path, FACTS, 5)
    movies, reasons = np.array([0, 2, 4, 3, 1, 0]), np.array([1, 0, 0, -1, -1, -1])
    sources = np.array([ROW_SOURCES.index(name) for name in ("model", "model", "facts", "model", "popular", "pinned")])
    shared = facts.shared(movies, reasons)
    templates = {
        "shared": "as {movie}: {relation} {entity}",
        "tagged": "{entity}!",
        "liked": "as {movie}",
        "pinned": "ours",
    }
    texts = ReasonTexts(templates, {"has_genre": "genre"}).of_rows(facts, reasons, shared, sources)
    assert texts.to_pylist() == ["noir!", "as Film 0: genre Drama", "as Film 0", None, None, "ours"]


@pytest.mark.parametrize(
    ("case", "template"),
    [("liked", "{entity}"), ("popular", "{movie}"), ("shared", "{director}"), ("shared", "{movie")],
)
def test_a_template_with_unknown_words_is_refused(case: str, template: str) -> None:
    with pytest.raises(ValueError, match=f"{case}: "):
        check_template(case, template)
