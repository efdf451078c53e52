"""Compares the answers of a recommender with the tables of its night."""

from pathlib import Path

from kgspark.answers.lake import Lake
from kgspark.answers.recommender import Recommender
from kgspark.tables import RECOMMENDATIONS, SIMILAR_ITEMS
from nights import DATE


def assert_answers_are_the_tables(lake: Path, date: str = DATE) -> None:
    """Every list of the night, row by row: columns, types, ids, ranks, bits of the scores, sources and reasons."""
    night = Lake(lake).night(date)
    recommender = Recommender.load(night, "arrow")
    table = night.table(RECOMMENDATIONS).to_arrow()
    assert recommender.recommend().equals(table)
    if SIMILAR_ITEMS in night.tables:
        of_night = night.table(SIMILAR_ITEMS).to_arrow()
        assert recommender.similar_items(recommender.item_ids).equals(of_night)
