"""bench graph: the gain of each part of the knowledge graph, and of the default graph, over likes alone."""

from pathlib import Path
from typing import Any

from pydantic import Field

from kgspark.bench.common import Row, Say
from kgspark.bench.variants.variants import VariantsSettings, figure, run_variants
from kgspark.night.default_graph import DEFAULT_RELATIONS

_NOTHING: dict[str, Any] = dict.fromkeys(name for name in DEFAULT_RELATIONS if name != "liked")
_PEOPLE = ("has_gender", "has_age", "has_occupation")
COLUMNS = {
    "NDCG@10": figure("ndcg@10"),
    "Recall@10": figure("recall@10"),
    "few-like users": figure("by_history", "cold", "ndcg@10"),
    "rare movies R@100": figure("by_popularity", "rare", "recall@100"),
    "common R@100": figure("by_popularity", "common", "recall@100"),
}


class GraphBenchSettings(VariantsSettings):
    """`kgspark bench graph`."""

    facts: Path | None = Field(None, description="a CSV of facts (movieId, relation, value) to add; null for none")


SETTINGS = GraphBenchSettings


def run(settings: GraphBenchSettings, say: Say) -> Row:
    """One row per graph."""
    if settings.facts is None:
        return run_variants(settings, variants_of(), COLUMNS, say)
    source = {"tables": {"facts": {"path": str(settings.facts.absolute())}}}
    return run_variants(settings, variants_of(facts=True), COLUMNS, say, {"source": source})


def variants_of(facts: bool = False) -> dict[str, dict[str, Any]]:
    """The graphs by name, as changes of the settings."""
    likes = {"weight": "1.0"}
    variants: dict[str, dict[str, Any]] = {
        "likes alone": _graph({"liked": likes}),
        "+ rating levels": _graph({}),
        "+ low ratings": _graph({"liked": likes, "watched": DEFAULT_RELATIONS["watched"] | {"weight": "0.1"}}),
        "+ genres": _graph({"liked": likes, **_defaults("has_genre")}),
        "+ years": _graph({"liked": likes, **_defaults("released_in")}),
        "+ demographics": _graph({"liked": likes, **_defaults(*_PEOPLE)}),
        "+ tags": _graph({"liked": likes, **_defaults("tagged")}),
        "+ co-watching": _graph({"liked": likes, **_defaults("watched_with")}),
        "+ recency (half-life 180 days)": _graph({"liked": {"weight": "pow(0.5, age_days / 180)"}}),
    }
    if facts:
        variants["+ own facts"] = _graph({"liked": likes, "stated": _STATED})
    variants["the default graph, no prior"] = {"train": {"export": {"facts_prior": 0.0}}}
    variants["the default graph"] = {}
    return variants


_STATED = {
    "table": "facts",
    "head": {"kind": "movie", "column": "movieId"},
    "tail": {"kind": "fact", "column": "concat(relation, ' ', value)"},
    "weight": "0.1",
}


def _graph(relations: dict[str, Any]) -> dict[str, Any]:
    return {"relations": {**_NOTHING, **relations}}


def _defaults(*names: str) -> dict[str, Any]:
    return {name: DEFAULT_RELATIONS[name] for name in names}
