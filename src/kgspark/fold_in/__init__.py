"""Lists for any history, from the vectors of a night and with NumPy alone: nothing is trained, and Spark is not needed.

A service can so answer a user who is not in the night, or who has liked something since. The arithmetic is that of a
night that serves the model: `kge.export.fold_in` for the query, `kge.export.recency` for its lean towards the latest
likes by the encoder of histories, and the trend as of the night.

    night = FoldIn.open(Path("lake/runs/2026-01-02"))
    night.top([1, 50, 296], k=10)
"""

from kgspark.fold_in.query_function import QueryFunction
from kgspark.fold_in.service import FoldIn

__all__ = ["FoldIn", "QueryFunction"]
