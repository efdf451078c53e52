"""Ranking inside a Spark task: Arrow batches of queries in, one Parquet file of ranked rows out.

A `RankingTask` is the function that the recommend stage hands to `mapInArrow`; nothing here depends on Spark.
Recommendations rank the items for queries, audiences rank the queries for items. All four scores are symmetric, so the
same code serves both.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgspark.errors import StageError
from kgspark.graph.histories import Histories
from kgspark.ranking_schemas import FILE_DESCRIPTION, QueryColumns
from kgspark.retrieval.approximate import Recall
from kgspark.retrieval.index import Engine, load_index
from kgspark.retrieval.pool_files import load_pools
from kgspark.retrieval.pools import Pool
from kgspark.retrieval.popular import load_popular
from kgspark.retrieval.published_files import write_published
from kgspark.retrieval.query_blocks import QueryBlock, read_blocks
from kgspark.retrieval.ranker import Ranker
from kgspark.retrieval.reason_texts import ReasonTexts
from kgspark.retrieval.reasons import nearest_liked
from kgspark.retrieval.rules.files import load_rules
from kgspark.retrieval.settings import IndexSettings
from kgspark.retrieval.shared_facts import MovieFacts, load_facts
from kgspark.retrieval.topk import Ranking
from kgspark.search_space import ITEMS, OPPOSITE, SearchSpace, Side, read_ids
from kgspark.stores.shared_folders import readable
from kgspark.tables import AVERAGE, ROW_SOURCES, SOURCES, Columns


@dataclass(frozen=True)
class RankingTask:
    """Ranks one side of a search space for the queries of the other; small, and pickled with every task.

    Folders are places that every machine can read (see `stores.shared_folders`).

    space        folder of the search space and its external ids
    side         the ranked side: "items" recommends items to queries, "queries" finds queries for items
    k            largest number of rows per query
    queries      number of all queries
    queries_per_file  file i holds the queries [i · queries_per_file, (i + 1) · queries_per_file)
    out          existing folder to write the files to
    constants    further columns of the files, each holding one string in every row (see `write_published`)
    query_name   column of the query's external id
    item_name    column of the ranked entity's external id
    reason_name  column of the liked item that is nearest to the recommended one, or None to leave it out
    block        queries ranked at a time; bounds the memory, and never changes a value
    threads      cores that a task may use
    engine       called in the task; returns the search that replaces FAISS's there, or None for FAISS
    pools        folder of `write_pools`; None ranks the whole side for every query, exactly
    popular      folder of `write_popular`, whose movies fill the lists that the vectors do not fill, and all lists of
                 queries with the source average; None to rank those by their vectors, and to fill nothing
    facts        folder of `write_facts`, for the columns of reasons as facts and as text; None for neither
    reason_facts  True for the columns reason_relation and reason_entity
    reason_text  the templates of the column reason_text, None for no such column
    rules        folder of `write_rules`, the business rules of the lists; None for none
    index        settings of the approximate search
    """

    space: str
    side: Side
    k: int
    queries: int
    queries_per_file: int
    out: str
    constants: Mapping[str, str] = field(default_factory=dict)
    query_name: str = "query_id"
    item_name: str = "item_id"
    reason_name: str | None = None
    block: int = 4096
    threads: int = 1
    engine: Callable[[], Engine | None] | None = None
    pools: str | None = None
    popular: str | None = None
    rules: str | None = None
    facts: str | None = None
    reason_facts: bool = False
    reason_text: ReasonTexts | None = None
    index: IndexSettings = field(default_factory=IndexSettings)

    def __post_init__(self) -> None:
        """Raises ValueError for reasons or popular movies together with the wrong side."""
        if self.side != ITEMS and any(each is not None for each in (self.reason_name, self.popular, self.rules)):
            raise ValueError("reasons, popular movies and rules are for lists of items, so they need side='items'")

    @property
    def sample_every(self) -> int:
        """Every n-th query is ranked exactly too, to measure the recall of an approximate search; 0 for none."""
        return 0 if self.index.kind == "flat" else -(-self.queries // self.index.sample)

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Ranks the queries of one file, writes the file, and yields one row that describes it (`FILE_DESCRIPTION`).

        batches  the part of the stream of queries that belongs to the file; see `rank`. No file is written for no rows
        """
        batches = (batch for batch in batches if batch.num_rows)
        first = next(batches, None)
        if first is None:
            return
        number = first[QueryColumns.POSITION][0].as_py() // self.queries_per_file
        recall = Recall()
        ranked = self.rank(chain([first], batches), recall)
        file, total = write_published(self.out, f"part-{number:05d}.parquet", ranked, self.constants)
        direction = first[QueryColumns.DIRECTION][0].as_py()
        described = {QueryColumns.DIRECTION: direction, **asdict(file), "total": total, **asdict(recall)}
        yield pa.RecordBatch.from_pylist([described], schema=FILE_DESCRIPTION)

    def rank(self, batches: Iterator[pa.RecordBatch], recall: Recall | None = None) -> Iterator[pa.RecordBatch]:
        """Ranks every query of a part of the stream of queries (`query_schema`), sorted by position, header row first.

        Yields the ranked rows by query and rising rank: `query_name`, `rank` int32 from 1, `item_name`, `score`
        float32, `source` string (the weaker origin of the two vectors, or that of a popular item, see
        `tables.ROW_SOURCES`) and `reason_name` (null for a popular item, and for a query without a liked one). Values
        do not depend on how the stream was cut into batches or partitions.
        `recall`, if given, counts every `sample_every`-th query. Raises StageError for a stream that `read_blocks`
        refuses, InputError if a folder lacks a file.
        """
        opened = _open(self)
        for block in read_blocks(batches, self.block, len(opened.query_ids)):
            _check_ids(block, opened.query_ids)
            yield self.rank_block(opened, block, recall)

    def rank_block(self, opened: "Opened", block: QueryBlock, recall: Recall | None = None) -> pa.RecordBatch:
        """The rows of a block of queries, as `rank` yields them, of files or arrays that are open already."""
        ranking, sources = opened.ranker.lists(block.positions, block.seen, self.k, self.index)
        if recall is not None and self.sample_every:
            _measure(recall, opened.ranker, block, ranking, sources, self.sample_every)
        return _rows(self, opened, block, ranking, sources)


@dataclass(frozen=True)
class Opened:
    """What a task ranks, opened: the ranker, the ids of both sides, and the facts that reasons name."""

    ranker: Ranker
    ids: pa.Array
    query_ids: pa.Array
    facts: MovieFacts | None = None


def _open(task: RankingTask) -> Opened:
    folder, query_side = readable(task.space), OPPOSITE[task.side]
    space = SearchSpace.load(folder)
    index = load_index(folder, task.side, task.threads)
    pools = [Pool(index)] if task.pools is None else load_pools(readable(task.pools), index)
    engine = task.engine() if task.engine is not None else None
    if engine is not None:
        pools = [replace(pool, index=replace(pool.index, engine=engine)) for pool in pools]
    ids = read_ids(folder, task.side, len(index))
    queries = space.vectors(query_side)
    query_ids = read_ids(folder, query_side, len(queries))
    popular = [] if task.popular is None else load_popular(readable(task.popular))
    facts = None if task.facts is None else load_facts(readable(task.facts))
    rules = None if task.rules is None else load_rules(readable(task.rules))
    sources = space.sources(query_side), space.sources(task.side)
    alike = space.vectors(task.side)[:, : space.width or None]
    return Opened(Ranker(index, alike, pools, queries, *sources, popular, rules), ids, query_ids, facts)


def _check_ids(block: QueryBlock, query_ids: pa.Array) -> None:
    """StageError if a query's id is not that of the vector at its position: else it would get another one's list."""
    of_vectors = query_ids.take(pa.array(block.positions))
    if of_vectors.equals(block.ids):
        return
    at = int(np.flatnonzero(~np.asarray(pc.equal(of_vectors, block.ids)))[0])
    raise StageError(
        f"entities number {block.ids[at]} as {block.positions[at]}, where the search space has {of_vectors[at]}; they "
        "are not of the same night; run train-embeddings"
    )


def _measure(
    recall: Recall, ranker: Ranker, block: QueryBlock, ranking: Ranking, sources: np.ndarray, every: int
) -> None:
    """Compares the list of every `every`-th query with its exact list."""
    rows = np.flatnonzero(block.positions % every == 0)
    exact = ranker.measured(block.positions[rows], block.seen.pick(rows), ranking.ids.shape[1])
    ids = ranking.ids[rows]
    if ranker.rules is None:
        ids = np.where(sources[rows] < len(SOURCES), ids, -1)
    recall.count(exact, Ranking(ids, ranking.scores[rows], ranking.counts[rows]))


def _rows(
    task: RankingTask, opened: Opened, block: QueryBlock, ranking: Ranking, sources: np.ndarray
) -> pa.RecordBatch:
    """The lists of a block as rows of the ranked table."""
    filled = ranking.ids >= 0
    owner = np.repeat(np.arange(len(block.positions)), ranking.counts)  # row of the block, for every ranked row
    ranked = ranking.ids[filled]
    rank = np.broadcast_to(np.arange(1, task.k + 1, dtype=np.int32), filled.shape)[filled]
    columns = {
        task.query_name: block.ids.take(pa.array(owner)),
        Columns.RANK: pa.array(rank),
        task.item_name: opened.ids.take(pa.array(ranked)),
        Columns.SCORE: pa.array(ranking.scores[filled]),
        Columns.SOURCE: pa.array(ROW_SOURCES).take(pa.array(sources[filled])),
    }
    if task.reason_name is not None:
        ranked_by_vector = np.where(sources < len(SOURCES), ranking.ids, -1)
        nearest = nearest_liked(opened.ranker.alike, ranked_by_vector, _placed(block.liked, opened))[filled]
        columns[task.reason_name] = opened.ids.take(pa.array(nearest, mask=nearest < 0))
        if opened.facts is not None:
            columns |= _of_facts(task, opened.facts, ranked, nearest, sources[filled])
    return pa.RecordBatch.from_pydict(columns)


def _of_facts(
    task: RankingTask, facts: MovieFacts, ranked: np.ndarray, reasons: np.ndarray, sources: np.ndarray
) -> dict[str, pa.Array]:
    """The columns of reasons as facts and as text, for the movies int64 (n,) and their reasons (-1 for none)."""
    shared, columns = facts.shared(ranked, reasons), {}
    if task.reason_facts:
        places = pa.array(shared, mask=shared < 0)
        columns = {
            Columns.REASON_RELATION: facts.relations.take(places),
            Columns.REASON_ENTITY: facts.entities.take(places),
        }
    if task.reason_text is not None:
        columns[Columns.REASON_TEXT] = task.reason_text.of_rows(facts, reasons, shared, sources)
    return columns


def _placed(liked: Histories, opened: Opened) -> Histories:
    """The liked items that have a vector of their own; for a query that likes none of these, all that it likes."""
    if not opened.ranker.popular:
        return liked
    placed = opened.ranker.ranked_sources[liked.indices] != SOURCES.index(AVERAGE)
    rows = liked.rows()
    without = np.bincount(rows[placed], minlength=len(liked)) == 0
    return liked.where(placed | without[rows])
