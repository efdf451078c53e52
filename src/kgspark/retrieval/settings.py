"""Settings of the ranking stage: how many movies a user gets, and how many users a movie gets."""

from typing import Literal

from pydantic import Field

from kgspark.config import Settings

Kind = Literal["flat", "ivf", "hnsw", "pq"]
Device = Literal["auto", "cpu", "cuda"]
# An exact search of fewer rows takes less time than an approximate one, and cells need rows to be learned from.
_FEW_ROWS = 1000


class IndexSettings(Settings):
    """How candidates are searched for. Whatever is found is scored again exactly, so only recall can suffer."""

    kind: Literal["flat", "ivf", "hnsw", "pq", "auto"] = Field(
        default="flat",
        description="flat (exact); or approximate: ivf (cells), hnsw (a graph of neighbours), pq (cells of compressed "
        "vectors); auto is flat up to flat_rows ranked rows, and ivf beyond",
    )
    flat_rows: int = Field(default=500_000, ge=0, description="auto: ranked rows up to which the search is exact")
    cells: int = Field(default=0, ge=0, description="ivf, pq: cells that the rows are divided into; 0 for 4 √rows")
    probes: int = Field(default=0, ge=0, description="ivf, pq: cells looked into for a query; 0 for √cells")
    links: int = Field(default=32, ge=2, le=512, description="hnsw: neighbours kept of each row")
    breadth: int = Field(default=256, ge=1, description="hnsw: rows kept in sight while building and searching")
    code_bytes: int = Field(default=0, ge=0, description="pq: bytes a compressed vector; 0 for one a 4 numbers")
    refine: float = Field(default=2.0, ge=1, description="rows scored again exactly, in multiples of k")
    seed: int = Field(default=42, ge=0, description="of the cells' centres")
    sample: int = Field(default=1000, ge=1, description="queries whose lists are compared with the exact ones")
    min_recall: float = Field(
        default=0.95, ge=0, le=1, description="share of the exact lists that must be found, or the night stops"
    )

    def kind_for(self, rows: int) -> Kind:
        """The kind of an index over `rows` rows; few rows are searched exactly whatever is asked for."""
        if rows < _FEW_ROWS or (self.kind == "auto" and rows <= self.flat_rows):
            return "flat"
        return "ivf" if self.kind == "auto" else self.kind


class RecommendSettings(Settings):
    """The `recommend` section: every user's top-K unseen movies."""

    k: int = Field(default=100, ge=1, description="movies recommended to each user")
    block: int = Field(
        default=4096,
        ge=1,
        description="users ranked at a time; bounds the memory of a task, and never changes the result",
    )
    rows_per_file: int = Field(default=5_000_000, ge=1, description="rows of a written Parquet file, at most")
    device: Device = Field(
        default="auto",
        description="where exact searches run: cpu (FAISS), cuda (torch), or auto, which takes cuda on machines that "
        "have it; the result is the same",
    )
    index: IndexSettings = Field(
        default_factory=IndexSettings, description="how both ranked tables search; its recall is measured on a sample"
    )


class AudienceSettings(Settings):
    """The `audiences` section: every movie's top-K users who have not seen it."""

    enabled: bool = Field(default=True, description="whether the audiences table is written")
    k: int = Field(default=100, ge=1, description="users listed for each movie")
