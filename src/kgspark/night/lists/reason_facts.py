"""The facts about movies that reasons name, from the night's triples to the files that ranking tasks read."""

from pathlib import Path

from kgspark.graph.layout import MOVIE
from kgspark.night.night import Night
from kgspark.night.reads import cleaned_tables, entity_layout, id_type, relations_of
from kgspark.retrieval.shared_facts import write_facts
from kgspark.spark.frames import DataFrame, read_table, write_table
from kgspark.spark.ranking.movie_facts import movie_facts, movie_titles
from kgspark.spark.stored import bring_here
from kgspark.tables import ENTITIES, MOVIES, TRIPLES


def read_movie_facts(night: Night) -> DataFrame:
    """The facts about the movies: see `movie_facts`. Lazy."""
    triples, entities = (read_table(night.spark, night.run.place(name)) for name in (TRIPLES, ENTITIES))
    return movie_facts(triples, entities, entity_layout(night), relations_of(night))


def write_fact_files(night: Night, folder: Path, scratch: Path) -> None:
    """Writes the new `folder` that ranking tasks read; `scratch` is a new folder for tables."""
    scratch.mkdir()
    entities, layout = read_table(night.spark, night.run.place(ENTITIES)), entity_layout(night)
    movies = read_table(night.spark, night.run.place(MOVIES)) if MOVIES in cleaned_tables(night) else None
    frames = {"facts": read_movie_facts(night), "titles": movie_titles(entities, layout, id_type(night), movies)}
    for name, frame in frames.items():
        write_table(frame, scratch / name)
    facts, titles = (bring_here(night.spark, scratch / name) for name in frames)
    write_facts(folder, facts, titles, layout.count(MOVIE))
