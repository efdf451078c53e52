"""Reasons as text, by the templates of `recommend.reason_text`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Formatter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgspark.retrieval.reason_templates import CASES, LIKED, SHARED
from kgspark.retrieval.shared_facts import MovieFacts
from kgspark.tables import PLACED_SOURCES, POPULAR_SOURCES, ROW_SOURCES


@dataclass(frozen=True)
class ReasonTexts:
    """Templates by case: `shared` (a fact is shared; or the name of its relation), `liked` (none is), or a source.

    words  other words for relations
    """

    templates: Mapping[str, str]
    words: Mapping[str, str] = field(default_factory=dict)

    def of_rows(self, facts: MovieFacts, reasons: np.ndarray, shared: np.ndarray, sources: np.ndarray) -> pa.Array:
        """The text of each row, string (n,); null in a case without a template.

        reasons  int64 (n,): positions of the movies that are the reasons, -1 for none
        shared   int64 (n,): the facts of `MovieFacts.shared`
        sources  uint8 (n,): positions in `ROW_SOURCES`
        """
        cases, case = self._cases(facts, reasons, shared, sources)
        span = len(facts.relations) + 1
        keys = (case.astype(np.int64) * (len(facts.titles) + 1) + reasons + 1) * span + shared + 1
        different, example, back = np.unique(keys, return_index=True, return_inverse=True)
        texts, places = [], np.full(len(different), -1, np.int64)
        done = 0
        for number, name in enumerate(cases):
            of_case = np.flatnonzero(case[example] == number)
            template = self.templates.get(name)
            if template is None and name not in CASES:
                template = self.templates.get(SHARED)
            if template is not None and len(of_case):
                rows = example[of_case]
                texts.append(self._filled(template, facts, reasons[rows], shared[rows]))
                places[of_case] = np.arange(done, done + len(of_case))
                done += len(of_case)
        of_rows = places[back]
        whole = pa.concat_arrays([pa.array([], pa.string()), *texts])
        return whole.take(pa.array(of_rows, mask=of_rows < 0))

    def _cases(
        self, facts: MovieFacts, reasons: np.ndarray, shared: np.ndarray, sources: np.ndarray
    ) -> tuple[list[str], np.ndarray]:
        """The names of all cases, and the number of each row's; one beyond for a row without any."""
        encoded = facts.relations.dictionary_encode()
        names = [*CASES, *encoded.dictionary.to_pylist()]
        case = np.full(len(reasons), len(names))
        case[reasons >= 0] = names.index(LIKED)
        has_fact = shared >= 0
        case[has_fact] = len(CASES) + encoded.indices.to_numpy()[shared[has_fact]]
        for name in (*POPULAR_SOURCES, *PLACED_SOURCES):
            case[sources == ROW_SOURCES.index(name)] = names.index(name)
        return names, case

    def _filled(self, template: str, facts: MovieFacts, reasons: np.ndarray, shared: np.ndarray) -> pa.Array:
        """The template with the words of each row."""
        parts: list[pa.Array | pa.Scalar] = []
        for literal, word, _, _ in Formatter().parse(template):
            parts.append(pa.scalar(literal))
            if word is not None:
                parts.append(self._word(word, facts, reasons, shared))
        rows = pa.repeat(pa.scalar(""), len(reasons))  # so that a template of literals alone has one text per row
        return pc.binary_join_element_wise(rows, *parts, "", null_handling="replace", null_replacement="")

    def _word(self, word: str, facts: MovieFacts, reasons: np.ndarray, shared: np.ndarray) -> pa.Array:
        if word == "movie":
            return facts.titles.take(pa.array(reasons))
        if word == "entity":
            return facts.entities.take(pa.array(shared))
        encoded = facts.relations.take(pa.array(shared)).dictionary_encode()
        own = [self.words.get(name, name) for name in encoded.dictionary.to_pylist()]
        return pa.array(own, pa.string()).take(encoded.indices)
