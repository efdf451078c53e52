"""Writes the clean tables of a source: ratings, and movies, users and tags if the source has them."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from kgspark.files import copy_file
from kgspark.spark.cleaning.accounts import Earlier, WrittenTable
from kgspark.spark.cleaning.basis import Basis, with_movies
from kgspark.spark.cleaning.rating_rules import Limits, good_ratings, with_reason
from kgspark.spark.cleaning.ratings import deduplication_tasks, one_per_pair, read_rating_texts, with_earlier
from kgspark.spark.cleaning.side_tables import SideTable, good_rows, read_parquet_movies, read_side_table, side_tables
from kgspark.spark.cleaning.source.dialects import Source
from kgspark.spark.cleaning.source.file_accounts import SourceFile, parquet_accounts, text_accounts
from kgspark.spark.cleaning.source.files import SourceFiles
from kgspark.spark.frames import map_files, read_table, write_table
from kgspark.spark.stored import copy_in_store
from kgspark.tables import MOVIES, RATINGS


def write_clean_tables(
    session: SparkSession,
    source: Source,
    limits: Limits,
    folders: Mapping[str, Path],
    basis: Basis,
    whole: Callable[[], Source],
) -> tuple[dict[str, WrittenTable], Basis]:
    """Writes every clean table to its new folder, from the tables of `basis` and the files that it has not read.

    Ratings are written after the movies, which they need; users and tags are written meanwhile, to keep all cores busy.
    whole  the source with all its files; it is needed if tonight's movies do not fit the ratings of the basis

    Also returns the basis that was used: without its ratings in this case.
    """
    recipes = side_tables(limits.genre_separator, limits.null_texts)
    named = {name: recipe for name, recipe in recipes.items() if name in source.paths}
    with ThreadPoolExecutor(1 + len(named)) as pool:
        futures = {
            name: pool.submit(_write_side_table, session, source, limits, name, recipe, folders[name], basis)
            for name, recipe in named.items()
        }
        movies = None
        if MOVIES in futures:
            futures[MOVIES].result()
            movies = read_table(session, folders[MOVIES])
        basis = with_movies(basis, movies, limits)
        if basis.ratings is None and source.unread.get(RATINGS):
            source = whole()
        ratings = _write_ratings(session, source, limits, movies, folders[RATINGS], basis.ratings)
        return {RATINGS: ratings} | {name: future.result() for name, future in futures.items()}, basis


def _write_ratings(
    session: SparkSession,
    source: Source,
    limits: Limits,
    movies: DataFrame | None,
    folder: Path,
    earlier: Earlier | None,
) -> WrittenTable:
    tasks = deduplication_tasks(source.files[RATINGS].bytes)
    if earlier is not None:
        source = source.without(RATINGS, {file.name for file in earlier.read})
        if not source.files[RATINGS].files:
            return _taken_over(session, source.files[RATINGS], earlier, folder)
    raw = read_rating_texts(session, source, limits)
    good = good_ratings(raw, limits, movies)
    rows = good if earlier is None else with_earlier(good, earlier.rows, limits)
    files = write_table(one_per_pair(rows, limits, tasks), folder)
    return WrittenTable(files, with_reason(raw, limits, movies), *_read(session, source, RATINGS), earlier)


def _taken_over(session: SparkSession, source: SourceFiles, earlier: Earlier, folder: Path) -> WrittenTable:
    """A copy of the earlier table, as no file of the source is new. The copy stands alone: links would not."""
    names = [file.name for file in earlier.files.files]
    if (copy := copy_in_store(session, folder)) is not None:
        copy.copy_inside(earlier.folder, folder, names)
    else:
        folder.mkdir()
        map_files(session, partial(_copy_to, folder), [earlier.folder / name for name in names])
    return WrittenTable(earlier.files, None, replace(source, files=()), (), earlier)


def _copy_to(folder: Path, file: Path) -> None:
    copy_file(file, folder / file.name)


def _write_side_table(
    session: SparkSession, source: Source, limits: Limits, name: str, table: SideTable, folder: Path, basis: Basis
) -> WrittenTable:
    if name in basis.tables:
        return _taken_over(session, source.files[name], basis.tables[name], folder)
    layout = source.layouts[name]
    if layout is None:
        lines = read_parquet_movies(session, source.parquet[name], limits.id_type, limits.null_texts)
    else:
        files = source.files[name]
        lines = read_side_table(session, files, layout, table, limits.id_type, limits.null_texts, limits.until)
    written = write_table(table.build(good_rows(lines)), folder)
    return WrittenTable(written, lines, *_read(session, source, name))


def _read(session: SparkSession, source: Source, name: str) -> tuple[SourceFiles, list[SourceFile]]:
    """The files of a table, and their accounts."""
    files, layout = source.files[name], source.layouts[name]
    if layout is None:
        return files, parquet_accounts(session, files, source.parquet[name].rows)
    return files, text_accounts(session, files, layout)
