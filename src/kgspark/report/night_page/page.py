"""Puts the page together: gathers every part, packs the data, and fills the template."""

from collections.abc import Mapping
from datetime import date
from importlib.resources import files
from typing import Any

import numpy as np

from kgspark.errors import StageError
from kgspark.report.night_page import (
    changes,
    distributions,
    graph,
    inputs,
    reach,
    similar,
    stages,
    training,
)
from kgspark.report.night_page.chart import Chart
from kgspark.report.night_page.lists import LIST_ROWS, UserLists, user_lists
from kgspark.report.night_page.movie_map import COLOURED, movie_map
from kgspark.report.night_page.movies import PageMovies, page_movies
from kgspark.report.night_page.night import PageNight
from kgspark.report.night_page.payload import packed_array, packed_json, packed_plotly
from kgspark.report.night_page.tiles import polyline, tiles
from kgspark.report.night_page.triples import Likes, count_likes
from kgspark.report.night_page.users import chosen_users
from kgspark.tables import RECOMMENDATIONS

TEMPLATES = "templates"


def check_packages() -> None:
    """StageError in one line if a package of the extra `report` is missing."""
    try:
        import jinja2  # noqa: F401

        packed_plotly()
    except ModuleNotFoundError as error:
        raise StageError(
            f"the report needs the package {error.name}; install it with kgspark's extra: pip install 'kgspark[report]'"
        ) from None


def night_page(night: PageNight) -> str:
    """The page as HTML. The same night gives the same text.

    Raises StageError if a package or a table of the night is missing.
    """
    check_packages()
    users = chosen_users(night.user_ids, night.settings.users)
    likes = count_likes(night, users)
    lists = user_lists(night, users, likes)
    shown = reach.count_shown(night)
    queries, found, cosines = similar.similar_movies(night, likes.of_movies)
    risen, fallen = changes.movers(shown)
    named = {movie for user in lists for movie in user.movies}
    needed = np.union1d(np.array(sorted(named), np.int64), np.concatenate([risen, fallen, found[found >= 0], queries]))
    movies = page_movies(night, likes.of_movies, needed)
    main = {
        **_words(night),
        "lists": _lists(lists, movies),
        "k": LIST_ROWS,
        "similar": _similar(movies, queries, found, cosines),
        "charts": {name: chart.as_json() for name, chart in _charts(night, likes, shown, lists).items()},
        "around": graph.surroundings(night, lists, movies),
        "genreNames": list(movies.genre_names),
        "coloured": min(COLOURED, len(movies.genre_names)),
    }
    data = {"main": packed_json(main), **_movie_data(night, movies)}
    movers = {
        name: [(movies.titles[movies.numbers[it]], int(shown.shown[it]), int(shown.before[it])) for it in of_kind]
        for name, of_kind in (("risen", risen), ("fallen", fallen))
        if shown.before is not None
    }
    return _render(night, data, {"movers": movers, "reach": reach.figures(night, likes.of_movies, shown)})


def _words(night: PageNight) -> dict[str, Any]:
    names = night.names
    words = {name: getattr(names, name) for name in ("user", "users", "movie", "movies", "genre", "genres")}
    return {"words": words, "date": night.run.date}


def _charts(night: PageNight, likes: Likes, shown: reach.Reach, lists: list[UserLists]) -> Mapping[str, Chart]:
    found = {
        **distributions.of_ratings(night),
        **distributions.of_likes(night, likes),
        **graph.charts(night),
        **training.curves(night),
        **training.groups(night),
        **reach.charts(night, likes.of_movies, shown),
        **stages.charts(night),
    }
    if kept := changes.kept_rows(lists):
        found["kept"] = stages.kept_chart(night, kept)
    return found


def _lists(lists: list[UserLists], movies: PageMovies) -> list[dict[str, Any]]:
    def number(movie: int) -> int:
        return int(movies.numbers[movie]) if movie >= 0 else -1

    return [
        {
            "id": user.id,
            "likes": user.likes,
            "liked": [[number(movie), rating, day] for movie, rating, day in user.liked],
            "got": [[number(m), round(score, 4), number(reason), source] for m, score, reason, source in user.listed],
            "before": None if user.before is None else [number(movie) for movie in user.before],
        }
        for user in lists
    ]


def _similar(movies: PageMovies, queries: np.ndarray, found: np.ndarray, cosines: np.ndarray) -> dict[str, Any]:
    numbers = np.where(found >= 0, movies.numbers[found], -1)
    return {
        "of": movies.numbers[queries].tolist(),
        "rows": numbers.tolist(),
        "cosines": np.where(np.isfinite(cosines), np.round(cosines.astype(np.float64), 3), 0).tolist(),
    }


def _movie_data(night: PageNight, movies: PageMovies) -> dict[str, str]:
    """Titles, likes, genres and the map, packed."""
    sizes = np.array([len(of_movie) for of_movie in movies.genres], np.uint8)
    flat = np.array([place for of_movie in movies.genres for place in of_movie], np.uint16)
    data = {
        "titles": packed_json(list(movies.titles)),
        "likes": packed_array(movies.likes.astype(np.uint32)),
        "genreSizes": packed_array(sizes),
        "genres": packed_array(flat),
    }
    on_map = movie_map(night, movies)
    if on_map is not None:
        data |= {name: packed_array(getattr(on_map, name)) for name in ("numbers", "x", "y", "colours")}
        data["share"] = packed_json(round(on_map.share, 4))
    return data


def _render(night: PageNight, data: Mapping[str, str], more: Mapping[str, Any]) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("kgspark.report.night_page", TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["polyline"] = polyline
    environment.globals["asset"] = _asset
    return environment.get_template("page.html").render(
        night=night,
        names=night.names,
        night_context=night.context,
        date=night.run.date,
        day=_day(night.run.date),
        tiles=tiles(night),
        accounts=inputs.accounts(night),
        reasons=inputs.reasons(night),
        hints=inputs.hints(night),
        changes=changes.entity_changes(night),
        churn=stages.churn(night),
        metrics=training.metrics(night),
        model_facts=training.facts(night),
        stage_rows=stages.rows(night),
        versions=night.run.manifest(RECOMMENDATIONS).versions,
        has_groups=bool(night.model.get("groups")),
        has_history=bool(night.model["training"].get("history")),
        has_validation=any(it["ndcg"] is not None for it in night.model["training"].get("history", [])),
        data=data,
        plotly=packed_plotly(),
        list_rows=LIST_ROWS,
        **more,
    )


def _asset(name: str) -> str:
    """A file beside the templates, as it is: styles and scripts of ours, which hold no data."""
    return files("kgspark.report.night_page").joinpath(TEMPLATES, name).read_text(encoding="utf-8")


def _day(text: str) -> str:
    day = date.fromisoformat(text)
    return f"{day:%A}, {day.day} {day:%B %Y}"
