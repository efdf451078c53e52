"""Names and columns of the tables, once; the file format of each is on README's page “Tables and files”."""

from dataclasses import asdict, dataclass
from typing import Any

RATINGS, MOVIES, USERS, TAGS, QUARANTINE = "ratings", "movies", "users", "tags", "quarantine"
ENTITIES, TRIPLES = "entities", "triples"
MODEL, SEARCH_SPACE = "model", "search_space"
SEGMENTS, CANDIDATES = "segments", "candidates"
RECOMMENDATIONS, AUDIENCES, PUBLISHED = "recommendations", "audiences", "published"

# Which stage writes a table: what to run where one is missing.
WRITTEN_BY = {
    **dict.fromkeys((RATINGS, MOVIES, USERS, TAGS, QUARANTINE), "clean-ratings"),
    ENTITIES: "index-entities",
    TRIPLES: "write-triples",
    **dict.fromkeys((MODEL, SEARCH_SPACE), "train-embeddings"),
    **dict.fromkeys((SEGMENTS, CANDIDATES, RECOMMENDATIONS, AUDIENCES), "recommend"),
    PUBLISHED: "publish",
}

# The names of the splits in the triples table.
TRAIN, VALID, TEST = "train", "valid", "test"

# Where a ranked row's vectors came from: likes, or facts where there are none (a user's gender, a movie's genre), or
# the average user's likes where there is nothing else. A row has the weaker of its two vectors' sources.
SOURCES = (AVERAGE, FACTS, LEARNED) = ("average", "facts", "model")


@dataclass(frozen=True)
class Relation:
    """A relation of the knowledge graph: its index in the triples table and the kinds that it joins.

    of_likes  whether it was drawn from the likes: then it tells nothing of who has none
    """

    index: int
    name: str
    head_kind: str
    tail_kind: str
    of_likes: bool = False

    def to_json(self) -> dict[str, Any]:
        """As it stands in the manifest of the triples table."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Relation":
        """The inverse of `to_json`."""
        return cls(**value)
