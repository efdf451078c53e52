"""Relations of the knowledge graph, with their names and kinds; the triples table has only their numbers."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

# Suffix of the name of an inverse; no relation of a configuration has it.
INVERSE_SUFFIX = "⁻¹"


@dataclass(frozen=True)
class Relation:
    """A relation of the knowledge graph: its index in the triples table and the kinds that it joins.

    of_likes  True if the relation was derived from likes, so that it is not a fact about an entity without likes
    """

    index: int
    name: str
    head_kind: str
    tail_kind: str
    of_likes: bool = False

    def to_json(self) -> dict[str, Any]:
        """The form in the manifest of the triples table."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Relation":
        """The inverse of `to_json`."""
        return cls(**value)

    def inverse(self, index: int) -> "Relation":
        """The same relation from tail to head, as a separate relation with the given index."""
        return Relation(index, self.name + INVERSE_SUFFIX, self.tail_kind, self.head_kind)


def head_only_kinds(relations: Iterable[Relation]) -> set[str]:
    """The kinds whose entities are heads, but never tails: users, unless relations are also learned inversely."""
    relations = list(relations)
    return {relation.head_kind for relation in relations} - {relation.tail_kind for relation in relations}
