"""The knowledge graph as one value: triples, the layout of the entities, and relations."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kgspark.errors import InputError, StageError
from kgspark.graph.histories import Histories
from kgspark.graph.layout import EntityLayout
from kgspark.graph.relation import Relation
from kgspark.graph.triples import SPLITS, Pairs, TripleSet
from kgspark.tables import TRAIN, Columns


@dataclass(frozen=True)
class Graph:
    """A knowledge graph in memory; methods that change it return a new graph, which shares the unchanged arrays.

    layout     the range of entity indices of each kind
    relations  in index order
    """

    triples: TripleSet
    layout: EntityLayout
    relations: Sequence[Relation]

    @classmethod
    def from_columns(
        cls,
        columns: Mapping[str, np.ndarray],
        layout: EntityLayout,
        relations: Sequence[Relation],
        origin: str = "triples",
    ) -> "Graph":
        """Groups, checks and sorts triples given as columns; `split` may be names or positions in `SPLITS`.

        The column `timestamp`, int64 or float64, may be missing; it is 0 for triples without a time.
        origin  first words of error messages
        Raises InputError if a triple does not fit its relation, or has an unknown relation or split.
        """
        split = np.asarray(columns[Columns.SPLIT])
        codes = split if split.dtype.kind in "iu" else split_codes(split, origin)
        known = {relation.index for relation in relations}
        unknown = sorted(set(np.unique(columns[Columns.RELATION]).tolist()) - known)
        if unknown:
            raise InputError(f"{origin}: relation {unknown[0]} is not declared; expected one of {sorted(known)}")
        parts: dict[tuple[str, int], Pairs] = {}
        for relation in relations:
            of_relation = columns[Columns.RELATION] == relation.index
            for code, name in enumerate(SPLITS):
                rows = np.flatnonzero(of_relation & (codes == code))
                if len(rows):
                    parts[name, relation.index] = _check_and_sort(columns, rows, layout, relation, origin)
        return cls(TripleSet(parts), layout, tuple(relations))

    def __len__(self) -> int:
        """Number of triples."""
        return len(self.triples)

    def relation(self, name: str) -> Relation:
        """The relation of that name; StageError if there is none."""
        for relation in self.relations:
            if relation.name == name:
                return relation
        names = ", ".join(relation.name for relation in self.relations) or "none"
        raise StageError(f"train.target: the graph has no relation {name!r}; it has {names}")

    def pairs(self, relation: Relation, splits: Sequence[str] = (TRAIN,)) -> Pairs:
        """The triples of one relation in any of the given splits."""
        return self.triples.pairs(relation.index, splits)

    def histories(self, relation: Relation, splits: Sequence[str] = (TRAIN,)) -> Histories:
        """One relation's tails by head: for a relation between users and movies, the movies of every user.

        There is one list per entity of the head kind; tails are positions inside their kind.
        """
        start, stop = self.layout.range(relation.head_kind)
        pairs = self.pairs(relation, splits)
        sizes = np.bincount(pairs.heads - start, minlength=stop - start)
        tails = pairs.tails - self.layout.range(relation.tail_kind)[0]
        return Histories.from_sizes(sizes, tails, pairs.weights, pairs.times)

    def without(self, split: str) -> "Graph":
        """The graph without the triples of one split."""
        return self._with({key: pairs for key, pairs in self.triples.parts.items() if key[0] != split})

    def moved(self, relation: Relation, rows: np.ndarray, source: str, split: str) -> "Graph":
        """The graph in which some triples of one relation are in another split.

        rows  bool (n,): marks the triples to move, of those that `pairs` has of the split `source`
        """
        pairs, moved = self.pairs(relation, (source,)), dict(self.triples.parts)
        of_both = {(source, relation.index): pairs.at(rows), (split, relation.index): self.pairs(relation, (split,))}
        moved[source, relation.index] = pairs.at(~rows)
        moved[split, relation.index] = TripleSet(of_both).pairs(relation.index, (source, split))
        return self._with({key: pairs for key, pairs in moved.items() if len(pairs)})

    def weighted(self, weights: Mapping[str, float]) -> "Graph":
        """The graph with one weight for all triples of each named relation, as if write-triples had written it."""
        numbers = {relation.index: weights[relation.name] for relation in self.relations if relation.name in weights}

        def weigh(key: tuple[str, int], pairs: Pairs) -> Pairs:
            if key[1] not in numbers:
                return pairs
            return replace(pairs, weights=np.full(len(pairs), numbers[key[1]], np.float32))

        return self._with({key: weigh(key, pairs) for key, pairs in self.triples.parts.items()})

    def without_zero_weights(self) -> "Graph":
        """The graph without the triples of weight 0, which training does not learn."""
        kept = {}
        for key, pairs in self.triples.parts.items():
            if (positive := pairs.weights > 0).any():
                kept[key] = pairs.at(positive)
        return self._with(kept)

    def with_inverses(self) -> "Graph":
        """The graph with an inverse of each of its R relations, from tail to head; relation r has the inverse R + r.

        These are the reciprocal relations of Lacroix et al. 2018, section 5.
        """
        count = len(self.relations)
        inverses = [relation.inverse(count + relation.index) for relation in self.relations]
        turned = {(split, count + index): pairs.inverse() for (split, index), pairs in self.triples.parts.items()}
        return Graph(TripleSet({**self.triples.parts, **turned}), self.layout, (*self.relations, *inverses))

    def fingerprint(self) -> str:
        """SHA-256 over triples, layout and relations."""
        described = [self.layout.to_json(), [relation.to_json() for relation in self.relations]]
        return hashlib.sha256(f"{self.triples.fingerprint()} {json.dumps(described)}".encode()).hexdigest()

    def _with(self, parts: Mapping[tuple[str, int], Pairs]) -> "Graph":
        return replace(self, triples=TripleSet(parts))


def split_codes(split: np.ndarray, origin: str) -> np.ndarray:
    """Positions in `SPLITS`, int8 (n,), of split names; InputError for any other name."""
    codes = np.full(len(split), -1, np.int8)
    for code, name in enumerate(SPLITS):
        codes[split == name] = code
    if (codes < 0).any():
        found = split[int((codes < 0).argmax())]
        raise InputError(f"{origin}: split {found!r} is none of {', '.join(SPLITS)}")
    return codes


def _check_and_sort(
    columns: Mapping[str, np.ndarray], rows: np.ndarray, layout: EntityLayout, relation: Relation, origin: str
) -> Pairs:
    """The given rows, which have the same relation and split, as sorted pairs."""
    heads, tails = columns[Columns.HEAD][rows].astype(np.int64), columns[Columns.TAIL][rows].astype(np.int64)
    for end, indices, kind in (("head", heads, relation.head_kind), ("tail", tails, relation.tail_kind)):
        _check_range(indices, layout, kind, f"{origin}: {relation.name}: {end}")
    weights = columns[Columns.WEIGHT][rows].astype(np.float32)
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise InputError(f"{origin}: {relation.name}: weights must be finite and not negative")
    times = columns[Columns.TIMESTAMP][rows] if Columns.TIMESTAMP in columns else None
    has_times = times is not None and bool(times.any())
    return Pairs.sort(heads, tails, weights, times if has_times else None)


def _check_range(indices: np.ndarray, layout: EntityLayout, kind: str, where: str) -> None:
    start, stop = layout.range(kind)
    outside = (indices < start) | (indices >= stop)
    if outside.any():
        found = int(indices[outside.argmax()])
        raise InputError(f"{where} {found} lies outside the {kind} range [{start}, {stop})")
