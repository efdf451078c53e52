"""The night that show, explain and similar answer from, its recommender, and its lists. They start no JVM."""

from typing import Any

import pyarrow.compute as pc

from kgspark.answers.lake import Lake
from kgspark.answers.lake_night import LakeNight
from kgspark.answers.recommender import Recommender
from kgspark.errors import InputError
from kgspark.night.night import Night
from kgspark.tables import RECOMMENDATIONS, Columns


def asked_night(night: Night) -> LakeNight:
    """The night of run_date if it is given, else the newest published one.

    Raises InputError if it is not there, or if only its published tables are.
    """
    settings = night.settings
    lake = Lake(settings.store or settings.lake, settings.lake if settings.store else None)
    found = lake.night(settings.run_date) if "run_date" in settings.model_fields_set else lake.latest()
    if not found.run.folder.is_dir():
        raise InputError(
            f"{found.run.folder}: removed; only the published tables of {found.date} are left. keep.nights keeps more "
            "nights"
        )
    return found


def asked_recommender(night: Night) -> tuple[LakeNight, Recommender]:
    """`asked_night`, and its recommender, whose frames are Arrow's."""
    found = asked_night(night)
    return found, Recommender.load(found, "arrow", night.settings.names)


def list_of(found: LakeNight, recommender: Recommender, user: int) -> list[dict[str, Any]]:
    """The rows of the user at a position in the table of recommendations, the published one if there is one.

    Columns as published, but those that are the same in every row, and titles.
    """
    names = recommender.names
    mine = pc.field(names.user_id) == recommender.id_of_user(user)
    rows = found.table(RECOMMENDATIONS).to_arrow(where=mine).sort_by(Columns.RANK).to_pylist()
    constant = {names.user_id, Columns.MODEL_ID, Columns.DS}
    return [
        {
            **{name: value for name, value in row.items() if name not in constant},
            Columns.TITLE: recommender.title(row[names.movie_id]),
            "reason_title": recommender.title(row.get(names.reason_movie_id)),
        }
        for row in rows
    ]
