"""similar: the movies that are most like a movie."""

from collections.abc import Sequence
from typing import Any

from kgspark.night.night import Night
from kgspark.tables import Columns
from kgspark.tools.asked import asked_recommender

_ROW = "{:>4}  {:>8}  {}"


def run(night: Night, words: Sequence[str]) -> dict[str, Any]:
    """Prints the list of the movie that the words name; returns it, which `--json` prints."""
    found, recommender = asked_recommender(night)
    names = recommender.names
    movie = recommender.id_of_movie(recommender.find_movie(words[0]))
    title, word = recommender.title(movie), night.settings.names.movie
    rows = recommender.similar_items([movie]).to_pylist()
    listed = [
        {
            Columns.RANK: row[Columns.RANK],
            names.similar_movie_id: row[names.similar_movie_id],
            Columns.TITLE: recommender.title(row[names.similar_movie_id]),
            Columns.SCORE: row[Columns.SCORE],
        }
        for row in rows
    ]
    night.say(f"{word} {movie}{f': {title}' if title else ''}, in the night of {found.date}")
    night.say(_ROW.format("rank", "likeness", word))
    for row in listed:
        shown = row[Columns.TITLE] or row[names.similar_movie_id]
        night.say(_ROW.format(row[Columns.RANK], f"{row[Columns.SCORE]:.3f}", shown))
    return {"night": found.date, names.movie_id: movie, Columns.TITLE: title, "list": listed}
