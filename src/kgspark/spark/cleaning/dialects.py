"""The dialects of MovieLens, and tables with other columns: the files of a source, and the layout of their lines."""

import codecs
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from kgspark.errors import InputError
from kgspark.spark.cleaning.settings import SourceColumns, SourceSettings
from kgspark.tables import MOVIES, RATINGS, TAGS, USERS, Columns

ML_100K_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip


@dataclass(frozen=True)
class TextLayout:
    """The layout of a text table's lines.

    columns    our names of the fields, in order
    header     the header line of the file, or None if it has none
    quoted     True if fields may be in double quotes, with "" for a quote inside
    or_utf8    True if lines that are valid UTF-8 are read as such, whatever the encoding
    """

    separator: str
    columns: tuple[str, ...]
    encoding: str = "utf-8"
    header: str | None = None
    quoted: bool = False
    or_utf8: bool = False


@dataclass(frozen=True)
class Scale:
    """The rating scale: lowest rating, highest rating, and the step between two ratings."""

    low: float
    high: float
    step: float


@dataclass(frozen=True)
class Source:
    """A data set found on disk.

    paths, layouts  the path and the layout of each table; the layout is None for Parquet
    columns         names of the columns in the source, if the layout does not give them
    """

    format: str
    paths: dict[str, Path]
    layouts: dict[str, TextLayout | None]
    scale: Scale
    integer_ids: bool = True
    columns: SourceColumns = field(default_factory=SourceColumns)


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
    """Finds the data set's files and layouts; raises InputError if something is missing or empty."""
    root = Path(settings.path).absolute()  # Spark reads relative paths from the folder in which its JVM started
    if not root.exists():
        raise InputError(f"{root}: no such file or folder; set source.path to a MovieLens folder or a ratings table")
    source = _table_source(settings, root) if settings.format == "table" else _movielens_source(settings, root)
    for path in source.paths.values():
        files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
        if not any(file.stat().st_size for file in files):
            raise InputError(f"{path}: the file is empty; expected at least one line of data")
    return source


def _movielens_source(settings: SourceSettings, root: Path) -> Source:
    dialect = _find_dialect(root) if settings.format == "auto" else settings.format
    files = _DIALECTS[dialect]
    for table in (RATINGS, MOVIES):
        if not (root / files[table][0]).is_file():
            raise InputError(f"{root / files[table][0]}: no such file; format {dialect} needs it")
    paths = {table: root / name for table, (name, _) in files.items() if (root / name).is_file()}
    # MovieLens-10M has the 1M file layout, but no users.dat, half stars, and UTF-8.
    is_10m = dialect == "ml-1m" and USERS not in paths
    encoding = "utf-8" if is_10m and settings.encoding == "auto" else settings.encoding
    layouts = {table: _with_encoding(files[table][1], encoding) for table in paths}
    for table, layout in layouts.items():
        first = _first_line(paths[table], layout.encoding)
        if layout.header is not None and first != layout.header:
            raise InputError(
                f"{paths[table]}:1: expected the header {layout.header}, found {first[:80]!r}; "
                "for columns of another name or order, set source.format=table"
            )
    half_stars = dialect == "ml-latest" or is_10m
    return Source(dialect, paths, dict(layouts), _HALF_STARS if half_stars else _WHOLE_STARS)


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


def _first_line(path: Path, encoding: str) -> str:
    """The first line of a text file without its byte order mark; InputError for UTF-16 and for an empty file."""
    with open(path, "rb") as stream:
        start = stream.readline(1 << 16)
    if not start:
        raise InputError(f"{path}: the file is empty; expected at least one line of data")
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError(f"{path}: the file is UTF-16; convert it to UTF-8 (iconv -f utf-16 -t utf-8)")
    return re.split("[\r\n]", start.removeprefix(codecs.BOM_UTF8).decode(encoding, errors="replace"), maxsplit=1)[0]


def _table_source(settings: SourceSettings, root: Path) -> Source:
    names = settings.columns
    paths = {RATINGS: root}
    layouts = {RATINGS: _table_layout(root, rating_columns(names), settings.encoding)}
    if settings.movies is not None:
        movies = Path(settings.movies).absolute()
        if not movies.exists():
            raise InputError(f"{movies}: no such file or folder; source.movies names the movie table")
        paths[MOVIES] = movies
        layouts[MOVIES] = _table_layout(movies, movie_columns(names), settings.encoding)
    return Source("table", paths, layouts, _HALF_STARS, settings.ids == "integer", names)


def rating_columns(names: SourceColumns) -> dict[str, str]:
    """Our names of the ratings' columns, by the source's names."""
    return {
        names.user: Columns.USER_ID,
        names.movie: Columns.MOVIE_ID,
        names.rating: Columns.RATING,
        names.timestamp: Columns.TIMESTAMP,
    }


def movie_columns(names: SourceColumns) -> dict[str, str]:
    """Our names of the movies' columns, by the source's names."""
    return {
        names.movies_id or names.movie: Columns.MOVIE_ID,
        names.title: Columns.TITLE,
        names.genres: Columns.GENRES,
    }


def required_columns(names: dict[str, str]) -> list[str]:
    """The source's names of the columns that must be there: all but title and genres under their usual names."""
    may_lack = {Columns.TITLE, Columns.GENRES}
    return [theirs for theirs, ours in names.items() if theirs != ours or ours not in may_lack]


def _table_layout(path: Path, columns: dict[str, str], encoding: str) -> TextLayout | None:
    """The layout of a CSV table, from its first line; None for Parquet."""
    files = sorted(file for file in path.rglob("*") if _is_data(file)) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path}: the folder holds no file")
    if files[0].suffix == ".parquet":
        return None
    chosen = "utf-8" if encoding == "auto" else encoding
    written = [file for file in files if file.stat().st_size] or files
    header = _first_line(written[0], chosen)
    for file in written[1:]:
        if _first_line(file, chosen) != header:
            raise InputError(f"{file}:1: the header differs from that of {written[0]}; the files of a table share one")
    fields = [name.strip().strip('"') for name in header.split(",")]
    missing = [name for name in required_columns(columns) if name not in fields]
    if missing:
        raise InputError(
            f"{written[0]}:1: the header lacks {', '.join(missing)}; found {', '.join(fields)}; "
            "name the columns in source.columns"
        )
    return TextLayout(",", tuple(columns.get(name, f"_{i}") for i, name in enumerate(fields)), chosen, header, True)


def _is_data(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(("_", "."))
