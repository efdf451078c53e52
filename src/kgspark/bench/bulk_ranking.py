"""implicit's bulk top-K, which filters what each user has seen inside the batch, and FAISS's, which filters nothing."""

import numpy as np
from implicit.cpu.topk import topk

from kgspark.graph.histories import Histories
from kgspark.peers.item_to_item import matrix


def implicit_top_k(items: np.ndarray, queries: np.ndarray, seen: Histories, k: int, threads: int) -> np.ndarray:
    """Rows of the k largest inner products with items float32 (N, d) that each query float32 (B, d) has not seen.

    Returns int (B, k), best first: what `recommend` of implicit's factor models runs for a batch of users.
    """
    ids, _ = topk(items, queries, k, filter_query_items=matrix(seen, len(items)), num_threads=threads)
    return ids
