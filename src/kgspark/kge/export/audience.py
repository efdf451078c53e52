"""The search space that audiences are ranked with: scores that are comparable between users.

By the model's own score s(u, m), users with short query vectors are near to every movie, and would be in every
audience. An audience ranks users by

    A(u, m) = s(u, m)/σ − log Σₙ exp(s(u, n)/σ) + a · log(max(likes of u, 1))

where n runs over all movies, σ is the temperature of the training, and a is `train.export.audience_activity`. The first
two terms are the logarithm of the softmax that the model was trained with: how much more the movie is for this user
than the others are. The last term says how much the user likes at all; with a = 1, A is the logarithm of the expected
number of likes. s is the score of the softmax objective: q · t for the metrics inner_product and l2 (whose items are
unit vectors), and the negative distance for l1 and modulus.

A is s/σ + b(u), so one more coordinate turns the vectors into those of A, and retrieval needs nothing new:

    inner_product, l2   [q/σ, b] · [t, 1]
    l1, modulus         B − ‖[q/σ, B − b] − [t/σ, 0]‖, with B the largest b: the coordinate adds B − b to the distance
"""

import numpy as np
import torch

from kgspark.kge.model.scoring import score_matrix
from kgspark.search_space import Metric, SearchSpace

# Scores in memory at once, 4 bytes each, a few times over.
_BLOCK_SCORES = 1 << 22
_BY_PRODUCT: tuple[Metric, ...] = ("inner_product", "l2")


def audience_space(
    space: SearchSpace, likes: np.ndarray, temperature: float, activity: float, device: torch.device
) -> SearchSpace:
    """The search space of A, over the same users and movies, with the same sources and the same model_id.

    space  of the model's own scores; likes  int (U,): the number of likes that the model learned, per user
    Its vectors have one more number (modulus: one more complex one). Its metric is that of `space`, or inner_product
    for l2.
    """
    bias = activity * np.log(np.maximum(likes, 1)) - log_partition(space, temperature, device)
    queries, items = space.queries / np.float32(temperature), space.items
    if space.metric in _BY_PRODUCT:
        metric: Metric = "inner_product"
        queries, items, offset = _extended(queries, bias, metric), _extended(items, np.ones(len(items)), metric), 0.0
    else:
        metric, offset = space.metric, float(bias.max(initial=-np.inf))
        queries = _extended(queries, offset - bias, metric)
        items = _extended(items / np.float32(temperature), np.zeros(len(items)), metric)
    return SearchSpace(queries, items, space.query_sources, space.item_sources, metric, offset, space.model_id)


def log_partition(space: SearchSpace, temperature: float, device: torch.device) -> np.ndarray:
    """log Σₙ exp(s(u, n)/σ) of every user, float64 (U,), over all movies; a block of users at a time on `device`."""
    items = torch.tensor(np.asarray(space.items), device=device)
    step = max(1, _BLOCK_SCORES // max(len(items), 1))
    sums = np.empty(len(space.queries))
    with torch.no_grad():
        for start in range(0, len(sums), step):
            queries = torch.tensor(space.queries[start : start + step], device=device)
            by_product = space.metric in _BY_PRODUCT
            scores = queries @ items.T if by_product else score_matrix(queries, items, space.metric)
            sums[start : start + step] = scores.div_(temperature).logsumexp(dim=1).cpu().numpy()
    return sums


def _extended(vectors: np.ndarray, column: np.ndarray, metric: Metric) -> np.ndarray:
    """The vectors (n, d) with one more coordinate (n,), float32; for modulus it is a complex one without imaginary
    part."""
    if metric != "modulus":
        return np.column_stack([vectors, column.astype(np.float32)])
    real, imaginary = np.hsplit(vectors, 2)
    return np.column_stack([real, column.astype(np.float32), imaginary, np.zeros(len(vectors), np.float32)])
