"""train-embeddings: tgraphx embeddings of the night's graph, and the search spaces that retrieval ranks with.

With `train.epochs=0` nothing is trained: the model of an earlier night is served under this night's numbering.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from kgspark.errors import StageError
from kgspark.files import TableFiles, describe_folder
from kgspark.graph.graph import Graph
from kgspark.graph.layout import MOVIE, USER
from kgspark.graph.relation import Relation
from kgspark.kge.device import pick_device, release_gpu_memory
from kgspark.kge.export.audience import audience_space
from kgspark.kge.export.fold_in import function_of_likes
from kgspark.kge.export.model_files import MEASURED_FILE, MODEL_FILE, measured_file, save_model
from kgspark.kge.export.search_space import export_search_space, trend_for
from kgspark.kge.export.similar import similar_space
from kgspark.kge.export.trend import without_trend
from kgspark.kge.settings import TrainSettings, describe
from kgspark.kge.training import checkpoints
from kgspark.kge.training.distributed import Team
from kgspark.kge.training.local_workers import run_on_this_machine
from kgspark.kge.training.memory import MemoryEstimate, estimate, resolve_negatives
from kgspark.kge.training.run_folder import Epoch
from kgspark.kge.training.serving import serve
from kgspark.kge.training.training import Trained, train
from kgspark.kge.training.warm_start import WarmStart, carry_over
from kgspark.names import Names
from kgspark.night.earlier_model import comparable_run
from kgspark.night.night import Night
from kgspark.night.reads import entity_layout, held_out_ndcg, id_type, knowledge_graph, relations_of, search_spaces
from kgspark.report.progress import progress_bar
from kgspark.runs import Outcome, Run, StageWork
from kgspark.search_space import ITEMS, QUERIES, SearchSpace, write_ids
from kgspark.tables import (
    AUDIENCE_SPACE,
    AVERAGE,
    ENTITIES,
    FACTS,
    LEARNED,
    MODEL,
    SEARCH_SPACE,
    SERVED,
    SIMILAR_SPACE,
    TRIPLES,
    Columns,
)

# Folder of checkpoints and of the dashboard's files. It is not a table, because it must survive a killed training.
TRAINING = "training"


def run(night: Night) -> Outcome:
    """Trains unless triples, settings and the model to start from are unchanged."""
    earlier = comparable_run(night)
    work = StageWork.plan(
        night.run,
        "train-embeddings",
        reads=(TRIPLES, ENTITIES),
        writes=(MODEL, *search_spaces(night)),
        settings=stage_settings(night),
        sources={"warm_start": earlier.manifest(MODEL).fingerprint} if earlier else None,
    )
    outcome = night.stage(work, partial(_train, earlier=earlier), _summary)
    checkpoints.discard(night.run.place(TRAINING))  # also if a kill after the commit left one
    return outcome


def stage_settings(night: Night) -> dict[str, Any]:
    """The settings that the model depends on."""
    return {"train": night.settings.train.resolved().model_dump()}


def _settings(night: Night, earlier: Run | None) -> TrainSettings:
    """The settings of tonight's training, which is shorter if it starts from an earlier night."""
    settings = night.settings.train.resolved()
    if earlier is None:
        return settings
    return settings.model_copy(update={"epochs": min(settings.epochs, settings.warm_epochs)})


def _train(night: Night, work: StageWork, earlier: Run | None) -> None:
    if night.settings.train.serves:
        assert earlier is not None
        _serve(night, work, earlier)
        return
    settings, needed = _resolve(night, _settings(night, earlier))
    graph = knowledge_graph(night)
    if settings.inverse_relations:
        graph = graph.with_inverses()
    initial = _warm_start(night, earlier, graph.relations) if earlier else None
    folder = night.run.place(TRAINING)
    folder.mkdir(parents=True, exist_ok=True)
    with progress_bar("training", settings.epochs) as advance:
        trained = train(graph, settings, folder, _show_epochs(advance), initial, _team(night))
    _write(night, work, graph, trained, {"memory": str(needed)})
    release_gpu_memory()


def _serve(night: Night, work: StageWork, earlier: Run) -> None:
    """Joins the vectors of an earlier model by id, and writes them as this night's model, under the same model_id."""
    earlier.manifests((MODEL, ENTITIES, TRIPLES))
    earlier.check_files((MODEL, ENTITIES), "name another night in train.warm_start, or train")
    settings, graph = night.settings.train.resolved(), knowledge_graph(night)
    model, measured = (earlier.table(MODEL) / name for name in (MODEL_FILE, MEASURED_FILE))
    old, new = (_entities(run) for run in (earlier, night.run))

    def carried(path: Path) -> WarmStart:
        return carry_over(path, old, new, graph.relations, settings)

    trained = serve(graph, settings, carried(model), carried(measured) if measured.exists() else None)
    of_earlier = earlier.manifest(MODEL).details
    served = {
        "date": earlier.date,
        "trained": of_earlier.get(SERVED, {}).get("trained", earlier.date),
        "new": {kind: _count_new(old, new, kind) for kind in (USER, MOVIE)},
    }
    _write(night, work, graph, trained, {SERVED: served}, of_earlier["model_id"])
    release_gpu_memory()


def _count_new(old: pa.Table, new: pa.Table, kind: str) -> int:
    """Number of entities of a kind that the earlier night did not have."""
    ids = [table.filter(pc.field(Columns.KIND) == kind)[Columns.EXTERNAL_ID] for table in (new, old)]
    return ids[0].length() - pc.sum(pc.is_in(ids[0], value_set=ids[1].combine_chunks())).as_py()


def _resolve(night: Night, settings: TrainSettings) -> tuple[TrainSettings, MemoryEstimate]:
    """The settings with a number for `negatives: auto`, and the memory that they need; prints both."""
    layout, relations = entity_layout(night), relations_of(night)
    rows = night.run.manifest(TRIPLES).rows * (2 if settings.inverse_relations else 1)
    night.note(describe(settings))
    if settings.negatives == "auto":
        settings = resolve_negatives(settings, layout, relations, rows)
        if settings.sample_size:
            night.note(f"softmax over samples of {settings.sample_size:,} tails, because all tails are too many")
    needed = estimate(settings, layout, relations, rows)
    night.note(f"training needs about {needed}")
    return settings, needed


def _write(
    night: Night,
    work: StageWork,
    graph: Graph,
    trained: Trained,
    details: dict[str, Any],
    model_id: str | None = None,
) -> None:
    """Commits the model, and the search spaces that are exported from it.

    details   further ones of the model
    model_id  of a served model; that of a new model is made from its vectors
    """
    folders = work.begin()
    for path in folders.values():
        path.mkdir()
    settings, path = trained.settings, folders[MODEL] / MODEL_FILE
    trend = trend_for(graph, settings)
    save_model(path, trained.model, graph, settings, trained.evidence, trained.encoder, trend)
    if trained.measured is not trained.model:
        path = folders[MODEL] / MEASURED_FILE
        evidence, encoder = trained.measured_evidence, trained.measured_encoder
        save_model(path, trained.measured, graph, settings, evidence, encoder)
    space = export_search_space(trained.model, graph, settings, trained.evidence, trained.encoder)
    if model_id is not None:
        space = replace(space, model_id=model_id)
    _save_space(night, space, folders[SEARCH_SPACE])
    function = function_of_likes(trained.model, graph, settings, trained.evidence, space, trained.encoder)
    if function is not None:
        function.save(folders[SEARCH_SPACE])
    if AUDIENCE_SPACE in folders:
        own = space if trend is None else without_trend(space)
        _save_space(night, _audience_space(own, graph, settings), folders[AUDIENCE_SPACE])
    if SIMILAR_SPACE in folders:
        _save_space(night, similar_space(space), folders[SIMILAR_SPACE], query_kind=MOVIE)
    of_model = {
        "model_id": space.model_id,
        "metrics": {"model": trained.test, "popularity": trained.popularity},
        "groups": trained.groups,
        "training": trained.to_json() | {"history": [asdict(epoch) for epoch in trained.history]},
        **details,
    }
    of_space = {"model_id": space.model_id, "sources": space.count_sources()}
    files = {name: TableFiles(describe_folder(path)) for name, path in folders.items()}
    work.commit(files, dict.fromkeys(folders, of_space) | {MODEL: of_model})


def _audience_space(space: SearchSpace, graph: Graph, settings: TrainSettings) -> SearchSpace:
    likes = graph.histories(graph.relation(settings.target), settings.learned_splits).sizes
    return audience_space(space, likes, settings.temperature, settings.export.audience_activity, pick_device(settings))


def _told_of_served(served: Mapping[str, Any], sources: Mapping[str, Mapping[str, int]], names: Names) -> str:
    """How many users and movies have a vector of the served model, and how many are new since then."""
    parts = []
    of_kinds = ((USER, names.users, QUERIES, "likes or facts"), (MOVIE, names.movies, ITEMS, "facts"))
    for kind, word, side, known in of_kinds:
        of_side = sources[side]
        parts.append(
            f"{of_side[LEARNED]:,} of {sum(of_side.values()):,} {word} have its vectors"
            f" ({served['new'][kind]:,} are new, {of_side[FACTS]:,} have one from {known}, {of_side[AVERAGE]:,} none)"
        )
    return f"trained on {served['trained']}, served without training; {', '.join(parts)}"


def _team(night: Night) -> Team | None:
    """Workers on this machine if Spark is local, else in Spark's tasks; None if the driver trains alone."""
    settings = night.settings.train.resolved()
    if settings.workers == 1:
        return None
    from kgspark.spark.distributor import Distributor

    distributor = Distributor(night.spark, settings.workers, pick_device(settings).type == "cuda")
    if night.run.copy is not None and not distributor.local:
        raise StageError(
            "train.workers: workers on other machines share a folder with the driver, and the lake is in an object "
            "store; set it to 1, or put the lake on a disk that all machines see"
        )
    launch = run_on_this_machine if distributor.local else distributor.run
    return Team(night.run.table(TRIPLES), launch, distributor.threads)


def _show_epochs(advance: Callable[[str], None]) -> Callable[[Epoch], None]:
    def show(epoch: Epoch) -> None:
        ndcg = "" if epoch.ndcg is None else f", NDCG {epoch.ndcg:.4f}"
        advance(f"loss {epoch.train_loss:.4f}{ndcg}")

    return show


def _warm_start(night: Night, earlier: Run, relations: Sequence[Relation]) -> WarmStart:
    earlier.manifests((MODEL, ENTITIES))
    earlier.check_files((MODEL, ENTITIES), "name another night in train.warm_start, or set it to none")
    old, new = (_entities(run) for run in (earlier, night.run))
    initial = carry_over(measured_file(earlier.table(MODEL)), old, new, relations, night.settings.train.resolved())
    night.note(
        f"warm start from {earlier.date}: {initial.carried_entities:,} of {new.num_rows:,} entities"
        f" and {initial.carried_relations} of {len(relations)} relations carried over"
    )
    return initial


def _entities(run: Run) -> pa.Table:
    return ds.dataset(_parts(run.table(ENTITIES))).to_table(columns=[Columns.KIND, Columns.EXTERNAL_ID, Columns.INDEX])


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


def _save_space(night: Night, space: SearchSpace, folder: Path, query_kind: str = USER) -> None:
    """Writes the vectors, and the external ids of queries and movies, in their own type, for use in ranked rows."""
    space.save(folder)
    entities = ds.dataset(_parts(night.run.table(ENTITIES)))
    for side, kind in ((QUERIES, query_kind), (ITEMS, MOVIE)):
        table = entities.to_table(columns=[Columns.INDEX, Columns.EXTERNAL_ID], filter=pc.field(Columns.KIND) == kind)
        ids = table.sort_by(Columns.INDEX)[Columns.EXTERNAL_ID].combine_chunks()
        write_ids(folder, side, ids.cast(pa.int64()) if id_type(night) == "bigint" else ids)


def _summary(night: Night) -> str:
    details, measured = night.run.manifest(MODEL).details, held_out_ndcg(night)
    training = details["training"]
    text = f"{details['model_id']}: "
    if SERVED in details:
        text += _told_of_served(
            details[SERVED], night.run.manifest(SEARCH_SPACE).details["sources"], night.settings.names
        )
    else:
        text += f"best of {training['epochs']} epochs is {training['best_epoch']}"
    if measured is not None:
        metric, ours, popular = measured
        text += f"; held-out {metric.upper()} {ours:.4f} (popularity {popular:.4f})"
    return text + _told_of_short_trainings(training) + _told_of_tomorrow(training)


def _told_of_short_trainings(training: Mapping[str, Any]) -> str:
    """What short trainings chose, and by which figures."""
    text, found = "", training["side_relations"]
    if not found["learned"] or found["figures"]:
        text += f"; {', '.join(found['names'])} {'are' if found['learned'] else 'are not'} learned"
        text += _told_figures(found["figures"], "with them", "without")
    if figures := training["temperature"]:
        text += f"; temperature {figures['chosen']:g}"
        text += _told_figures(figures, "with the recipe's", "with a softer one")
    return text


def _told_figures(figures: Mapping[str, float], given: str, other: str) -> str:
    """NDCG of two short trainings; nothing without figures."""
    names = [name for name in figures if name.startswith("ndcg@")]
    if not names:
        return ""
    values = (figures[name] for name in names)
    told = ", ".join(f"{value:.4f} {words}" for value, words in zip(values, (given, other), strict=True))
    return f" (short trainings: validation {names[0].upper()} {told})"


def _told_of_tomorrow(training: Mapping[str, Any]) -> str:
    """What the published vectors have besides the model's own scores, and what it was worth in the past weeks."""
    text = ""
    if training["recent_share"]:
        text += f"; {training['recent_share']:.0%} of a query comes from the latest likes"
    if training["trend_weight"]:
        text += f"; what is popular of late counts with weight {training['trend_weight']:g}"
        text += f" (half-life {training['trend_half_life']:g} days)"
    if training.get("when") == "tomorrow":
        text += "; queries ask for the day after the latest like"
        if days := training["later_days"]:
            metric = next(name for name in days if name.startswith("ndcg@"))
            text += f" ({metric.upper()} of later days {days[metric]:.4f}, {days[f'{metric}_without']:.4f} without)"
    if weeks := training["past_weeks"]:
        metric = next(name for name in weeks if name.startswith("ndcg@"))
        text += f"; in past weeks {metric.upper()} {weeks[metric]:.4f}, {weeks[f'{metric}_without']:.4f} without"
    return text
