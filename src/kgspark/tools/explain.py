"""explain: why a user is recommended a movie, or has another score for it."""

from collections.abc import Sequence
from typing import Any

from kgspark.errors import InputError
from kgspark.night.night import Night
from kgspark.report.explanation import explanation_lines
from kgspark.tools.asked import asked_recommender, list_of


def run(night: Night, words: Sequence[str]) -> dict[str, Any]:
    """Prints the explanation of the movie that the second word names, else of the first one of the user's list.

    Returns the explanation, which `--json` prints.
    """
    found, recommender = asked_recommender(night)
    user, movie = words[0], words[1] if len(words) > 1 else None
    if movie is None:
        listed = list_of(found, recommender, recommender.find_user(user))
        if not listed:
            raise InputError(f"{night.settings.names.user} {user} has no list; name a {night.settings.names.movie}")
        movie = listed[0][recommender.names.movie_id]
    explained = recommender.explain(user, movie).as_json()
    for line in explanation_lines(explained, night.settings.names):
        night.say(line)
    return {"night": found.date, "model_id": recommender.model_id, **explained}
