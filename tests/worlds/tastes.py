"""A world whose right answer is known: groups of users, each of which likes exactly the movies of its own group.

One of these movies is withheld from every user, and must be first in the user's list: no other unseen movie was liked
by users of the same group, and all movies are equally popular.
"""

import random
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class World:
    """`withheld[user_id]` is the movie that must be rank 1; `groups[i]` the users and the movies of group i."""

    withheld: dict[int, int]
    groups: list[tuple[list[int], list[int]]]


def write_world(folder: Path, groups: int = 4, users: int = 16, movies: int = 8, seed: int = 0) -> World:
    """Writes `ratings.csv` and `movies.csv` of `groups` groups of `users` users and `movies` movies.

    users  a multiple of `movies`, so that each movie is withheld equally often
    Ids are scattered, lines shuffled, and genres are independent of the groups.
    """
    if users % movies or users == movies == 1:
        raise ValueError("users must be a multiple of movies, or some movies would be more popular")
    rng = random.Random(seed)
    user_ids = rng.sample(range(1, 50 * groups * users), groups * users)
    movie_ids = rng.sample(range(1, 50 * groups * movies), groups * movies)
    world = World({}, [])
    lines = []
    for group in range(groups):
        own_users = user_ids[group * users : (group + 1) * users]
        own_movies = movie_ids[group * movies : (group + 1) * movies]
        world.groups.append((own_users, own_movies))
        for place, user in enumerate(own_users):
            world.withheld[user] = own_movies[place % movies]
            for movie in own_movies:
                if movie != world.withheld[user]:
                    stars, time = rng.choice(["4.0", "4.5", "5.0"]), 10**9 + rng.randint(0, 10**9) * 7 // 10
                    lines.append(f"{user},{movie},{stars},{time}")
    rng.shuffle(lines)
    catalogue = [f'{movie},"Film {movie}, The ({rng.randint(1950, 2020)})",Drama|Comedy' for movie in movie_ids]
    rng.shuffle(catalogue)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "ratings.csv", ["userId,movieId,rating,timestamp", *lines])
    _write(folder / "movies.csv", ["movieId,title,genres", *catalogue])
    return world


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\r\n" for line in lines), encoding="utf-8", newline="")
