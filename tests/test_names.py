"""A team's own words and columns."""

import pytest

from kgspark import config
from kgspark.errors import ConfigError
from kgspark.names import OURS, Names
from kgspark.published_schemas import published_schema
from kgspark.tables import RANKED


def test_without_settings_all_names_are_kgsparks() -> None:
    assert Names().columns == {name: name for name in ("user_id", "movie_id", "reason_movie_id", "similar_movie_id")}
    assert OURS.fill("{user} {users} {movie} {movies} {genre} {genres}") == "user users movie movies genre genres"


def test_what_is_not_set_follows_from_what_is() -> None:
    names = Names(user="customer", movie="sku", genre="category", genres="categories")
    assert names.columns == {
        "user_id": "customer_id",
        "movie_id": "sku_id",
        "reason_movie_id": "reason_sku_id",
        "similar_movie_id": "similar_sku_id",
    }
    assert names.fill("{user} {users} {movies} {genres}") == "customer customers skus categories"
    assert [names.of_kind(kind) for kind in ("user", "movie", "genre", "brand")] == [
        "customer",
        "sku",
        "category",
        "brand",
    ]
    assert Names(movie_id="sku").reason_movie_id == "reason_sku"
    assert Names(movie_id="sku").movies == "movies"


def test_only_the_words_of_a_text_are_filled_in() -> None:
    """Values in a text may look like anything."""
    assert Names(user="customer").fill("user {user} {{user}} {1} {name} %s") == "user customer {customer} {1} {name} %s"


def test_the_files_have_the_own_columns_in_the_same_places() -> None:
    names = Names(user="customer", movie="sku", movie_id="sku")
    for table in RANKED:
        ours, own = (published_schema(table, "string", of) for of in (OURS, names))
        assert own.names == [names.column(name) for name in ours.names]
        assert own.types == ours.types
    assert published_schema("audiences", "string", names).names == [
        "sku", "rank", "customer_id", "score", "source", "model_id", "ds"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["movie_id=Rank"], "movie_id: 'Rank' is the column rank too; choose another name"),
        (["user=item", "movie=item"], "movie_id: 'item_id' is the column user_id too; choose another name"),
        (["reason_movie_id=ds"], "reason_movie_id: 'ds' is the column ds too"),
        (["user_id=customer id"], "user_id: expected a name that SQL can use"),
        (["user=Käufer"], "user_id: expected a name that SQL can use: .*, found 'Käufer_id'"),
        (["user=a/b"], "user: expected a word of letters, digits, blanks, _ and -"),
        (["movies="], "movies: expected a string"),
        (["item=sku"], "item: unknown key"),
    ],
)
def test_a_wrong_name_is_one_line(given: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        config.from_overrides(Names, given)
