import numpy as np

from kgspark.graph.histories import Histories
from kgspark.metrics.link import filtered_ranks, link_metrics


def test_ties_count_one_half_and_other_known_tails_do_not_count() -> None:
    scores = np.array([[5, 4, 4, 4, 1], [0, 0, 0, 0, 0]], np.float32)
    known = Histories(np.array([0, 2, 3]), np.array([0, 2, 4]))
    wanted = Histories(np.array([0, 1, 2]), np.array([2, 4]))
    assert filtered_ranks(scores, known, wanted).tolist() == [2.0, 3.0]
    assert link_metrics(np.empty(0)) == {}
