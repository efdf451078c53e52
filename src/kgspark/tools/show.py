"""show: what a user has rated and what the user is recommended, beside each other."""

from collections.abc import Sequence
from typing import Any

from kgspark.night.night import Night
from kgspark.report.user_page import user_page
from kgspark.tables import Columns
from kgspark.tools.asked import asked_recommender, list_of


def run(night: Night, words: Sequence[str]) -> dict[str, Any]:
    """Prints the page of the user whom the word names; returns the whole history and list, which `--json` prints."""
    found, recommender = asked_recommender(night)
    names, user = recommender.names, recommender.find_user(words[0])
    history = [
        {
            names.movie_id: row[Columns.MOVIE_ID],
            Columns.TITLE: recommender.title(row[Columns.MOVIE_ID]),
            Columns.RATING: row[Columns.RATING],
            Columns.TIMESTAMP: row[Columns.TIMESTAMP],
        }
        for row in recommender.history(words[0]).to_pylist()
    ]
    answer = {
        "night": found.date,
        Columns.MODEL_ID: recommender.model_id,
        names.user_id: recommender.id_of_user(user),
        "history": history,
        "list": list_of(found, recommender, user),
    }
    for line in user_page(answer, night.settings.names, names):
        night.say(line)
    return answer
