"""Confidence intervals by resampling users.

The Poisson bootstrap (Chamandy et al. 2012): in each resample every user gets a weight drawn from Poisson(1). For more
than a few dozen users this is equivalent to the multinomial bootstrap, and simpler.
"""

from collections.abc import Mapping

import numpy as np

# Weights drawn at once: 32 MiB.
_CELLS = 1 << 22


def intervals(
    values: Mapping[str, np.ndarray],
    resamples: int,
    seed: int,
    fraction: float = 0.95,
    users: np.ndarray | None = None,
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of the mean of each array (U,), from the same resamples of users for all of them.

    fraction  fraction of the resampled means inside the interval
    users     int (U,): the user of each value, if a user may have several; they are drawn together, because they are
              not independent. None: each value is of another user
    """
    names = list(values)
    if not names or not resamples or not len(values[names[0]]):
        return {}
    table = np.stack([values[name] for name in names], axis=1)  # (U, names)
    sizes = np.ones(len(table))
    if users is not None:
        owners = np.unique(users, return_inverse=True)[1]
        sizes = np.bincount(owners).astype(np.float64)
        table = np.stack([np.bincount(owners, column) for column in table.T], axis=1)  # sums per user
    generator = np.random.default_rng(seed)
    means = []
    step = max(1, _CELLS // len(table))
    for start in range(0, resamples, step):
        weights = generator.poisson(1.0, (min(step, resamples - start), len(table))).astype(np.float64)
        # With very few users, a resample may have no user at all, and would divide by zero.
        weights[weights.sum(axis=1) == 0] = 1.0
        means.append(weights @ table / (weights @ sizes)[:, None])
    low, high = np.quantile(np.concatenate(means), [(1 - fraction) / 2, (1 + fraction) / 2], axis=0)
    return {name: (float(low[at]), float(high[at])) for at, name in enumerate(names)}
