"""kgspark turns a ratings log into tomorrow's recommendation tables.

In Python, `kgspark.run` runs a night, `kgspark.Lake` opens nights, and `kgspark.Recommender` answers from one;
`kgspark.KGRecommender` fits frames in memory. They are imported when they are first named, and so are the engines.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["KGRecommender", "Lake", "Recommender", "__version__", "run"]

# Their types are in `__init__.pyi`.
_MODULES = {
    "KGRecommender": "kgspark.in_memory.recommender",
    "Lake": "kgspark.answers.lake",
    "Recommender": "kgspark.answers.recommender",
    "run": "kgspark.api",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'kgspark' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
