"""Protocol fold-in: lists for users that no training has seen, from the likes of theirs that are known by then.

A fraction of each test user's likes is known, and the others are to be found. Research on autoencoders evaluates so, as
“strong generalisation” (Liang et al. 2018, “Variational autoencoders for collaborative filtering”). Our queries are
those of a night that serves an earlier model (`kge.export.fold_in`).
"""

from dataclasses import replace

import numpy as np

from kgspark.graph.histories import Histories
from kgspark.graph.shards import read_graph
from kgspark.night.held_out import HeldOut
from kgspark.runs import Run
from kgspark.search_space import SearchSpace
from kgspark.tables import MODEL, TEST, TRAIN, TRIPLES

# The fraction of a user's likes that is known, as in the published figures.
_KNOWN = 0.8


def with_known(held_out: HeldOut, seed: int) -> HeldOut:
    """The held-out likes, some of them known; those of users with a single one are left out."""
    known = _mark_known(held_out.test, seed)
    several = (held_out.test.sizes > 1)[held_out.test.rows()]
    return replace(held_out, known=held_out.test.where(known), test=held_out.test.where(several & ~known))


def space_with_known(run: Run, seed: int) -> SearchSpace:
    """The vectors of a night's model, with the queries of test users made from their known likes."""
    from kgspark.kge.export.model_files import MODEL_FILE, load_model
    from kgspark.kge.export.search_space import export_search_space

    saved = load_model(run.table(MODEL) / MODEL_FILE)
    graph = read_graph(run.table(TRIPLES), saved.layout, saved.relations)
    target = graph.relation(saved.settings.target)
    known = _mark_known(graph.histories(target, (TEST,)), seed)
    graph = graph.moved(target, known, TEST, TRAIN)
    return export_search_space(saved.build(), graph, saved.settings, saved.evidence, saved.encoder)


def _mark_known(likes: Histories, seed: int) -> np.ndarray:
    """Marks bool (nnz,) a random fraction of each user's likes: at least one, and never all."""
    rows, sizes = likes.rows(), likes.sizes
    order = np.lexsort((np.random.default_rng(seed).random(len(rows)), rows))
    places = np.empty(len(rows), np.int64)
    places[order] = np.arange(len(rows)) - likes.indptr[rows]
    return places < np.minimum(np.maximum((_KNOWN * sizes).astype(np.int64), 1), sizes - 1)[rows]
