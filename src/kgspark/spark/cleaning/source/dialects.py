"""The dialects of MovieLens, and tables with other columns: the files of a source, and the layout of their lines."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kgspark.errors import InputError
from kgspark.spark.cleaning.settings import Location, SourceColumns, SourceSettings
from kgspark.spark.cleaning.source.csv_layouts import header_layout, layout_without_header
from kgspark.spark.cleaning.source.files import SourceFiles, find_files
from kgspark.spark.cleaning.source.json_lines import is_json_lines, json_layout
from kgspark.spark.cleaning.source.kinds import Kind, are_parquet, first_line, kind_of, refuse_other_texts, shown
from kgspark.spark.cleaning.source.layouts import TextLayout
from kgspark.spark.cleaning.source.parquet_files import ParquetFiles, read_footers
from kgspark.spark.cleaning.source.places import Found, find, joined
from kgspark.tables import MOVIES, RATINGS, TAGS, USERS, Columns

ML_100K_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip


@dataclass(frozen=True)
class Scale:
    """The rating scale: lowest rating, highest rating, and the step between two ratings."""

    low: float
    high: float
    step: float


@dataclass(frozen=True)
class Source:
    """A data set, found on a disk or in an object store.

    files       the files of each table
    layouts     the layout of each table's lines; None for Parquet
    parquet     the columns of each Parquet table, by those of its files that are not `unread`
    unread      names of files of each table that an earlier night has read, and that nobody needs tonight
    unfinished  file and text of the last lines of ratings that count as cut off
    """

    format: str
    files: Mapping[str, SourceFiles]
    layouts: Mapping[str, TextLayout | None]
    scale: Scale
    integer_ids: bool = True
    parquet: Mapping[str, ParquetFiles] = field(default_factory=dict)
    unread: Mapping[str, Collection[str]] = field(default_factory=dict)
    unfinished: Sequence[tuple[Path, str]] = ()

    @property
    def paths(self) -> dict[str, str]:
        """The file or folder of each table, as it was configured."""
        return {table: files.path for table, files in self.files.items()}

    def without(self, table: str, names: Collection[str]) -> "Source":
        """The source without the files of a table that have these names."""
        left = self.files[table].without(names)
        parquet = {table: self.parquet[table].only(left.files)} if table in self.parquet else {}
        return replace(self, files={**self.files, table: left}, parquet={**self.parquet, **parquet})


_TABLE_ADVICE = "set source.format=table (kgspark init {path} writes such a configuration)"
_HALF_STARS = Scale(0.5, 5.0, 0.5)
_WHOLE_STARS = Scale(1.0, 5.0, 1.0)
_RATING = (Columns.USER_ID, Columns.MOVIE_ID, Columns.RATING, Columns.TIMESTAMP)
_MOVIE = (Columns.MOVIE_ID, Columns.TITLE, Columns.GENRES)
_TAG = (Columns.USER_ID, Columns.MOVIE_ID, Columns.TAG, Columns.TIMESTAMP)
_LATEST = {
    RATINGS: ("ratings.csv", TextLayout(",", _RATING, header="userId,movieId,rating,timestamp", quoted=True)),
    MOVIES: ("movies.csv", TextLayout(",", _MOVIE, header="movieId,title,genres", quoted=True)),
    TAGS: ("tags.csv", TextLayout(",", _TAG, header="userId,movieId,tag,timestamp", quoted=True)),
}
_DAT = {
    RATINGS: ("ratings.dat", TextLayout("::", _RATING, "iso-8859-1")),
    MOVIES: ("movies.dat", TextLayout("::", _MOVIE, "iso-8859-1")),
    USERS: ("users.dat", TextLayout("::", (Columns.USER_ID, "gender", "age", "occupation", "zip_code"), "iso-8859-1")),
    TAGS: ("tags.dat", TextLayout("::", _TAG, "utf-8")),
}
_HUNDRED_K = {
    RATINGS: ("u.data", TextLayout("\t", _RATING, "iso-8859-1")),
    MOVIES: (
        "u.item",
        TextLayout(
            "|", (Columns.MOVIE_ID, Columns.TITLE, "release_date", "video_date", "url", *ML_100K_GENRES), "iso-8859-1"
        ),
    ),
    USERS: ("u.user", TextLayout("|", (Columns.USER_ID, "age", "gender", "occupation", "zip_code"), "iso-8859-1")),
}
_DIALECTS = {"ml-latest": _LATEST, "ml-1m": _DAT, "ml-100k": _HUNDRED_K}


def find_source(settings: SourceSettings) -> Source:
    """Finds the data set's files and layouts, see `find_tables` and `read_layouts`."""
    return read_layouts(settings, find_tables(settings))


def find_tables(
    settings: SourceSettings, copies: Mapping[str, SourceFiles] | None = None, lake: Path | None = None
) -> dict[str, SourceFiles]:
    """The files of each table, of which none is read; InputError if there are none.

    copies  of the tables that Spark opens, by our names of the tables; a table without its copy is left out
    lake    the lake that copies of objects are kept in
    """
    locations = own_locations(settings)
    if not locations:
        return _movielens_tables(settings, lake)
    advice = {
        RATINGS: "set source.path to a MovieLens folder or a ratings table",
        MOVIES: "source.movies names the movie table",
    }
    own = {n: location.path for n, (_, location) in locations.items() if not location.by_spark}
    found = {**(copies or {}), **{name: find_files(path, advice[name], lake) for name, path in own.items()}}
    return {name: found[name] for name in locations if name in found}


def read_layouts(
    settings: SourceSettings,
    tables: Mapping[str, SourceFiles],
    unread: Mapping[str, Collection[str]] | None = None,
    whole: bool = True,
) -> Source:
    """The layout of the tables' lines, by what the files begin with, and by the footers of Parquet.

    unread  names of files that are not looked at; if these are all of a table, one of them is
    whole   False if of files in an object store the beginnings and ends are enough

    Fetches the other files if they are in an object store; the source that it returns has these files only.
    Raises InputError for a file of another kind, header or types.
    """
    seen = {table: _some(files, (unread or {}).get(table, ())).fetch(whole) for table, files in tables.items()}
    return _table_source(settings, seen) if own_locations(settings) else _movielens_source(settings, seen)


def _some(files: SourceFiles, unread: Collection[str]) -> SourceFiles:
    """The files without those that are `unread`; if nothing is left, the smallest of them."""
    left = files.without(unread)
    return left if left.files else replace(files, files=(min(files.files, key=files.size),))


def own_locations(settings: SourceSettings) -> dict[str, tuple[str, Location]]:
    """The dotted key and the location of ratings and movies in own tables; empty for MovieLens."""
    if settings.format != "table" and not settings.by_spark:
        return {}
    movies = {} if settings.movies is None else {MOVIES: ("source.movies", settings.movies)}
    return {RATINGS: ("source", settings), **movies}


def own_columns(settings: SourceSettings) -> dict[str, dict[str, str]]:
    """Our names of the columns of ratings and movies in own tables, by the source's names."""
    _check_names(settings.columns)
    return {RATINGS: rating_columns(settings.columns), MOVIES: movie_columns(settings.columns)}


def _movielens_tables(settings: SourceSettings, lake: Path | None) -> dict[str, SourceFiles]:
    root = find(settings.path)
    if root.exact is None:
        raise InputError(
            f"{root.shown}: no such file or folder; set source.path to a MovieLens folder or a ratings table"
        )
    dialect = _find_dialect(root) if settings.format == "auto" else settings.format
    names = {table: name for table, (name, _) in _DIALECTS[dialect].items()}
    places = {table: joined(settings.path, name) for table, name in names.items() if _holds(root, name)}
    for table in (RATINGS, MOVIES):
        if table not in places:
            raise InputError(f"{joined(root.shown, names[table])}: no such file; format {dialect} needs it")
    return {table: find_files(place, "source.path names its folder", lake) for table, place in places.items()}


def _holds(root: Found, name: str) -> bool:
    """True if the folder has a file of this name."""
    folder = root.exact.folder if root.exact is not None else None
    return folder is not None and any(each.name == name and each.folder is None for each in folder.entries())


def _movielens_source(settings: SourceSettings, tables: Mapping[str, SourceFiles]) -> Source:
    ratings = tables[RATINGS].files[0].name
    dialect = next(name for name, files in _DIALECTS.items() if files[RATINGS][0] == ratings)
    # MovieLens-10M has the 1M file layout, but no users.dat, half stars, and UTF-8.
    is_10m = dialect == "ml-1m" and USERS not in tables
    encoding = "utf-8" if is_10m and settings.encoding == "auto" else settings.encoding
    layouts = {table: _with_encoding(_DIALECTS[dialect][table][1], encoding) for table in tables}
    for table, layout in layouts.items():
        _check_file(tables[table].files[0], layout)
    half_stars = dialect == "ml-latest" or is_10m
    return Source(dialect, tables, layouts, _HALF_STARS if half_stars else _WHOLE_STARS)


def _check_file(file: Path, layout: TextLayout) -> None:
    """InputError if a file of MovieLens is no text, or has another header."""
    if kind_of(file) != Kind.TEXT:
        raise InputError(f"{file}: the file is {kind_of(file)}; expected MovieLens's own text file")
    first = first_line(file, layout.encoding) or ""
    if layout.header is not None and first != layout.header:
        refuse_other_texts(file, first)
        raise InputError(
            f"{file}:1: expected the header {layout.header}, found {shown(first)}; "
            f"for columns of another name or order, {_TABLE_ADVICE.format(path=file)}"
        )


def _find_dialect(root: Found) -> str:
    """The dialect whose ratings file is in the folder."""
    found = [name for name, files in _DIALECTS.items() if _holds(root, files[RATINGS][0])]
    if len(found) != 1:
        wanted = ", ".join(files[RATINGS][0] for files in _DIALECTS.values())
        problem = "holds more than one of" if found else "holds none of"
        folder = root.exact.folder if root.exact is not None else None
        is_other = not found and (folder is None or folder.entries())
        advice = f"; for your own tables, {_TABLE_ADVICE.format(path=root.shown)}" if is_other else ""
        raise InputError(
            f"{root.shown}: {problem} {wanted}; set source.format, or source.path to another folder{advice}"
        )
    return found[0]


def _with_encoding(layout: TextLayout, encoding: str) -> TextLayout:
    """The layout with the configured encoding.

    `auto` keeps the dialect's. The published files of 1M and 100k are in iso-8859-1; characters beyond ASCII that are
    valid UTF-8 were converted by somebody, for in iso-8859-1 they would be a row of accents and signs.
    """
    return replace(layout, or_utf8=True) if encoding == "auto" else replace(layout, encoding=encoding)


def _table_source(settings: SourceSettings, tables: Mapping[str, SourceFiles]) -> Source:
    wanted = own_columns(settings)
    layouts: dict[str, TextLayout | None] = {}
    parquet = {}
    for table, files in tables.items():
        columns = wanted[table]
        if are_parquet(files):
            layouts[table], parquet[table] = None, read_footers(files, columns, required_columns(columns))
        elif is_json_lines(files):
            layouts[table] = json_layout(files, columns, required_columns(columns))
        elif settings.header is not None and table == RATINGS:
            layouts[table] = layout_without_header(files, settings, settings.header, columns)
        else:
            layouts[table] = header_layout(files, settings, columns, required_columns(columns))
    return Source(
        "spark" if settings.by_spark else "table", tables, layouts, _HALF_STARS, settings.ids == "integer", parquet
    )


def _check_names(names: SourceColumns) -> None:
    """InputError if two columns of one table have one name."""
    ratings = [name for name, _ in _rating_names(names)]
    movies = (names.movies_id or names.movie, names.title, names.genres)
    for name, count in (Counter(ratings) | Counter(movies)).items():
        if count > 1:
            raise InputError(f"source.columns: {name} is the name of {count} columns of one table; give each its own")


def rating_columns(names: SourceColumns) -> dict[str, str]:
    """Our names of the ratings' columns, by the source's names."""
    return dict(_rating_names(names))


def _rating_names(names: SourceColumns) -> list[tuple[str, str]]:
    """The source's name and ours of each column of the ratings that the source has."""
    found = (
        (names.user, Columns.USER_ID),
        (names.movie, Columns.MOVIE_ID),
        (names.rating or names.count, Columns.RATING),  # the number that an event has takes the place of a rating
        (names.timestamp, Columns.TIMESTAMP),
        (names.event, Columns.EVENT),
    )
    return [(theirs, ours) for theirs, ours in found if theirs is not None]


def movie_columns(names: SourceColumns) -> dict[str, str]:
    """Our names of the movies' columns, by the source's names."""
    return {
        names.movies_id or names.movie: Columns.MOVIE_ID,
        names.title: Columns.TITLE,
        names.genres: Columns.GENRES,
    }


def required_columns(names: Mapping[str, str]) -> list[str]:
    """The source's names of the columns that must be there: all but title and genres under their usual names."""
    may_lack = {Columns.TITLE, Columns.GENRES}
    return [theirs for theirs, ours in names.items() if theirs != ours or ours not in may_lack]
