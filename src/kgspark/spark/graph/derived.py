"""Tables that are derived from the training ratings, for relations to draw on. A further one is a line of `DERIVED`."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kgspark.spark.graph.co_watch import co_watched
from kgspark.spark.settings import TriplesSettings
from kgspark.tables import TRAIN, Columns


@dataclass(frozen=True)
class DerivedTable:
    """A table that is known once the split is. It takes part in triples and names no new entity.

    build     lazily makes the table of training ratings, the section `triples` of the settings, and at least the number
              of those ratings; held-out ratings must not show up in it
    key       columns of which no combination stands twice
    of_likes  built from the training likes only, else from all training ratings
    """

    build: Callable[[DataFrame, TriplesSettings, int], DataFrame]
    key: tuple[str, ...]
    of_likes: bool


DERIVED = {
    "co_watched": DerivedTable(
        build=lambda likes, settings, most: co_watched(likes, settings.co_watch, most),
        key=(Columns.MOVIE_ID, Columns.OTHER_MOVIE_ID),
        of_likes=True,
    ),
}


def derived_tables(
    names: Collection[str], ratings: DataFrame, liked_where: str | None, settings: TriplesSettings, most: int
) -> dict[str, DataFrame]:
    """Those of the derived tables that `names` contains. Lazy.

    ratings      with their split
    liked_where  SQL condition under which a rating is a like; None: every rating is
    most         at least the number of ratings
    """
    training = ratings.where(F.col(Columns.SPLIT) == TRAIN)
    likes = training if liked_where is None else training.where(liked_where)
    return {
        name: table.build(likes if table.of_likes else training, settings, most)
        for name, table in DERIVED.items()
        if name in names
    }
