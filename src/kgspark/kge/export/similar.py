"""The search space that similar movies are found with: the cosine of the models' vectors of two movies.

This likeness also chooses the reason of a recommendation (`retrieval.reasons`). Queries and items are the same movies.
Coordinates that only add to a movie's score, as that of a trend, play no part.
"""

import numpy as np

from kgspark.search_space import SearchSpace


def similar_space(space: SearchSpace) -> SearchSpace:
    """The search space over the movies of `space`, with their sources and its model_id; scores are cosines."""
    vectors = np.asarray(space.items[:, : space.width or None], np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return SearchSpace(units, units, space.item_sources, space.item_sources, "inner_product", 0.0, space.model_id)
