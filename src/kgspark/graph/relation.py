"""Relations of the knowledge graph: what the triples table holds as a number, by name and kinds."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

# The end of the name of an inverse; no relation of a configuration ends so.
INVERSE_SUFFIX = "⁻¹"


@dataclass(frozen=True)
class Relation:
    """A relation of the knowledge graph: its index in the triples table and the kinds that it joins.

    of_likes  the relation was derived from likes, so it says nothing about an entity without likes
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

    def inverse(self, index: int) -> "Relation":
        """The same relation from tail to head, as a relation of its own with the given index."""
        return Relation(index, self.name + INVERSE_SUFFIX, self.tail_kind, self.head_kind)


def head_only_kinds(relations: Iterable[Relation]) -> set[str]:
    """The kinds whose entities are heads, but never tails: users, unless relations are also learned inversely."""
    relations = list(relations)
    return {relation.head_kind for relation in relations} - {relation.tail_kind for relation in relations}
