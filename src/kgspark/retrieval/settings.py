"""Settings of the ranking stage: the lengths of the lists, and the search."""

from typing import Any, Literal

from pydantic import Field, field_validator

from kgspark.config import Settings
from kgspark.retrieval.reason_templates import SHARED, check_template

Kind = Literal["flat", "ivf", "hnsw", "pq"]
Device = Literal["auto", "cpu", "cuda"]
# An exact search of fewer rows is faster than an approximate one, and learning the cells needs some rows.
_FEW_ROWS = 1000


class IndexSettings(Settings):
    """The search for both ranked tables. All found rows are scored again exactly, so only recall can suffer."""

    kind: Literal["flat", "ivf", "hnsw", "pq", "auto"] = Field(
        default="flat",
        description="flat (exact); or approximate: ivf (cells), hnsw (a graph of neighbours), pq (cells of compressed "
        "vectors); auto is flat up to flat_rows ranked rows, and ivf beyond",
    )
    flat_rows: int = Field(default=500_000, ge=0, description="auto: ranked rows up to which the search is exact")
    cells: int = Field(default=0, ge=0, description="ivf, pq: cells that the rows are divided into; 0 for 4 √rows")
    probes: int = Field(default=0, ge=0, description="ivf, pq: cells searched per query; 0 for √cells")
    links: int = Field(default=32, ge=2, le=512, description="hnsw: neighbours kept per row")
    breadth: int = Field(default=256, ge=1, description="hnsw: candidates kept while building and searching")
    code_bytes: int = Field(default=0, ge=0, description="pq: bytes per compressed vector; 0 for one per 4 numbers")
    refine: float = Field(default=2.0, ge=1, description="found rows that are scored again exactly, in multiples of k")
    seed: int = Field(default=42, ge=0, description="seed of the cells' centres")
    sample: int = Field(default=1000, ge=1, description="queries whose lists are compared with the exact ones")
    min_recall: float = Field(
        default=0.95, ge=0, le=1, description="fraction of the exact lists that must be found, or the night stops"
    )

    def kind_for(self, rows: int) -> Kind:
        """The kind of an index over `rows` rows; few rows are always searched exactly."""
        if rows < _FEW_ROWS or (self.kind == "auto" and rows <= self.flat_rows):
            return "flat"
        return "ivf" if self.kind == "auto" else self.kind


class RecommendSettings(Settings):
    """Every user's top-K unseen movies."""

    k: int = Field(default=100, ge=1, description="movies recommended to each user")
    block: int = Field(
        default=4096,
        ge=1,
        description="users ranked at a time; bounds the memory of a task, and does not change the result",
    )
    rows_per_file: int = Field(default=5_000_000, ge=1, description="largest number of rows per Parquet file")
    device: Device = Field(
        default="auto",
        description="device of exact searches: cpu (FAISS), cuda (torch), or auto, which takes cuda on machines that "
        "have it; the result is the same",
    )
    index: IndexSettings = Field(default_factory=IndexSettings)
    reason_facts: bool = Field(
        default=False,
        description="columns reason_relation and reason_entity: the rarest fact that the movie shares with its reason",
    )
    reason_text: dict[str, str] = Field(
        default_factory=dict,
        description="column reason_text, by case: shared, or the name of the relation (with {movie}, {relation}, "
        "{entity}), liked (no fact is shared; {movie}), popular_in_segment, popular, pinned, explored; a text alone is "
        "for shared",
    )
    reason_words: dict[str, str] = Field(
        default_factory=dict, description="relation: your word for {relation}, such as has_genre: genre"
    )

    @field_validator("reason_text", mode="before")
    @classmethod
    def _text_alone(cls, value: Any) -> Any:
        return {SHARED: value} if isinstance(value, str) else value

    @field_validator("reason_text")
    @classmethod
    def _words_are_known(cls, value: dict[str, str]) -> dict[str, str]:
        for case, template in value.items():
            check_template(case, template)
        return value

    @property
    def needs_facts(self) -> bool:
        """True if published rows have facts or texts as reasons."""
        return self.reason_facts or bool(self.reason_text)


class AudienceSettings(Settings):
    """Every movie's top-K users who have not rated it."""

    enabled: bool = Field(default=True, description="write the table audiences")
    k: int = Field(default=100, ge=1, description="users listed for each movie")


class VectorSettings(Settings):
    """The vectors that recommendations are ranked by, one of each user and movie, for a vector store."""

    enabled: bool = Field(default=False, description="write the tables user_vectors and movie_vectors")
    rows_per_file: int = Field(default=1_000_000, ge=1, description="largest number of vectors per Parquet file")


class SimilarSettings(Settings):
    """Every movie's top-K most similar movies, by the cosine of their vectors."""

    enabled: bool = Field(default=False, description="write the table similar_items")
    k: int = Field(default=20, ge=1, description="movies listed for each movie")
