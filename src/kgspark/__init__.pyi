from kgspark.answers.lake import Lake as Lake
from kgspark.answers.recommender import Recommender as Recommender
from kgspark.api import run as run
from kgspark.in_memory.recommender import KGRecommender as KGRecommender

__version__: str
__all__ = ["KGRecommender", "Lake", "Recommender", "__version__", "run"]
