"""The dialects of MovieLens, and tables with other columns: the files of a source, and the layout of their lines."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kgspark.errors import InputError
from kgspark.spark.cleaning.settings import Location, SourceColumns, SourceSettings
from kgspark.spark.cleaning.source.csv_layouts import header_layout, layout_without_header
from kgspark.spark.cleaning.source.files import SourceFiles, find_files, local_path
from kgspark.spark.cleaning.source.json_lines import is_json_lines, json_layout
from kgspark.spark.cleaning.source.kinds import Kind, are_parquet, first_line, kind_of, refuse_other_texts, shown
from kgspark.spark.cleaning.source.layouts import TextLayout
from kgspark.spark.cleaning.source.parquet_files import ParquetFiles, read_footers
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
    """A data set found on disk.

    files       the files of each table
    layouts     the layout of each table's lines; None for Parquet
    parquet     the columns of each Parquet table
    unfinished  file and text of the last lines of ratings that count as cut off
    """

    format: str
    files: Mapping[str, SourceFiles]
    layouts: Mapping[str, TextLayout | None]
    scale: Scale
    integer_ids: bool = True
    parquet: Mapping[str, ParquetFiles] = field(default_factory=dict)
    unfinished: Sequence[tuple[Path, str]] = ()

    @property
    def signatures(self) -> dict[str, str]:
        """The signature of each table's files."""
        return {table: files.signature for table, files in self.files.items()}

    @property
    def paths(self) -> dict[str, Path]:
        """The file or folder of each table, as it was configured."""
        return {table: files.path for table, files in self.files.items()}

    def without(self, table: str, names: Collection[str]) -> "Source":
        """The source without the files of a table that have these names."""
        files = self.files[table]
        left = tuple(file for file in files.files if files.name(file) not in names)
        parquet = {table: self.parquet[table].only(left)} if table in self.parquet else {}
        changed = {table: replace(files, files=left)}
        return replace(self, files={**self.files, **changed}, parquet={**self.parquet, **parquet})


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


def find_source(settings: SourceSettings, copies: Mapping[str, SourceFiles] | None = None) -> Source:
    """Finds the data set's files and layouts; raises InputError if something is missing, empty, or of no known kind.

    copies  the copies of the tables that Spark opens, by our names of the tables
    """
    if settings.format == "table" or settings.by_spark:
        return _table_source(settings, find_tables(settings, copies or {}))
    return _movielens_source(settings)


def find_tables(settings: SourceSettings, copies: Mapping[str, SourceFiles]) -> dict[str, SourceFiles]:
    """The files of ratings and movies in own tables; InputError if there are none.

    copies  of the tables that Spark opens; a table without its copy is left out
    """
    locations = own_locations(settings)
    advice = {
        RATINGS: "set source.path to a MovieLens folder or a ratings table",
        MOVIES: "source.movies names the movie table",
    }
    found = {n: find_files(location.path, advice[n]) for n, (_, location) in locations.items() if not location.by_spark}
    return {name: found.get(name) or copies[name] for name in locations if name in found or name in copies}


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


def _movielens_source(settings: SourceSettings) -> Source:
    root = local_path(settings.path)
    if not root.exists():
        raise InputError(f"{root}: no such file or folder; set source.path to a MovieLens folder or a ratings table")
    dialect = _find_dialect(root) if settings.format == "auto" else settings.format
    names = _DIALECTS[dialect]
    for table in (RATINGS, MOVIES):
        if not (root / names[table][0]).is_file():
            raise InputError(f"{root / names[table][0]}: no such file; format {dialect} needs it")
    files = {
        table: find_files(str(root / name), "source.path names its folder")
        for table, (name, _) in names.items()
        if (root / name).is_file()
    }
    # MovieLens-10M has the 1M file layout, but no users.dat, half stars, and UTF-8.
    is_10m = dialect == "ml-1m" and USERS not in files
    encoding = "utf-8" if is_10m and settings.encoding == "auto" else settings.encoding
    layouts = {table: _with_encoding(names[table][1], encoding) for table in files}
    for table, layout in layouts.items():
        _check_file(files[table].files[0], layout)
    half_stars = dialect == "ml-latest" or is_10m
    return Source(dialect, files, layouts, _HALF_STARS if half_stars else _WHOLE_STARS)


def _check_file(file: Path, layout: TextLayout) -> None:
    """InputError if a file of MovieLens is no text, or has another header."""
    if kind_of(file) != Kind.TEXT:
        raise InputError(f"{file}: the file is {kind_of(file)}; expected MovieLens's own text file")
    first = first_line(file, layout.encoding) or ""
    if layout.header is not None and first != layout.header:
        refuse_other_texts(file, first)
        raise InputError(
            f"{file}:1: expected the header {layout.header}, found {shown(first)}; "
            "for columns of another name or order, set source.format=table"
        )


def _find_dialect(root: Path) -> str:
    """The dialect whose ratings file is in the folder."""
    found = [name for name, files in _DIALECTS.items() if (root / files[RATINGS][0]).is_file()]
    if len(found) != 1:
        wanted = ", ".join(files[RATINGS][0] for files in _DIALECTS.values())
        problem = "holds more than one of" if found else "holds none of"
        raise InputError(f"{root}: {problem} {wanted}; set source.format, or source.path to another folder")
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
