"""The six tgraphx models as two-tower scorers: a translated query of (head, relation) against an effective item.

For every model `score_triples(h, r, t)` is a function of `query(h, r)` and `item(t)` alone (kgspark.search_space):

| model    | query                       | item        | metric        | source                 |
| -------- | --------------------------- | ----------- | ------------- | ---------------------- |
| TransE   | h/‖h‖₂ + r                  | t/‖t‖₂      | l2 or l1      | Bordes et al. 2013     |
| DistMult | h ⊙ r                       | t           | inner_product | Yang et al. 2015       |
| ComplEx  | [Re(h∘r), Im(h∘r)]          | [Re t, Im t]| inner_product | Trouillon et al. 2016  |
| RotatE   | ĥ ∘ exp(iθ), ĥᵢ = hᵢ/|hᵢ|   | t̂           | modulus       | Sun et al. 2019        |
| RESCAL   | hᵀ M                        | t           | inner_product | Nickel et al. 2011     |
| SimplE   | ½ [h ⊙ r, h̄ ⊙ r̄]            | [t̄, t]      | inner_product | Kazemi & Poole 2018    |
"""

from collections.abc import Mapping

import torch
from tgraphx.kg import models as zoo

from kgspark.kge.model.unit_rows import unit_rows
from kgspark.kge.settings import TrainSettings
from kgspark.search_space import Metric

Rows = Mapping[str, torch.Tensor]

# Parameter tables of each model: one row an entity, one row a relation. Names are tgraphx's.
_ENTITY_TABLES = {
    "transe": ("entity_emb",),
    "distmult": ("entity_emb",),
    "complex": ("entity_re", "entity_im"),
    "rotate": ("entity_re", "entity_im"),
    "rescal": ("entity_emb",),
    "simple": ("entity_head", "entity_tail"),
}
_RELATION_TABLES = {
    "transe": ("relation_emb",),
    "distmult": ("relation_emb",),
    "complex": ("relation_re", "relation_im"),
    "rotate": ("relation_phase",),
    "rescal": ("relation_matrix",),
    "simple": ("relation_fwd", "relation_inv"),
}


def build_model(settings: TrainSettings, num_entities: int, num_relations: int) -> zoo.KGScoringModel:
    """tgraphx's own model with its own initialisation, drawn from torch's global generator, on the CPU."""
    sizes = (num_entities, num_relations, settings.dim)
    if settings.model == "transe":
        return zoo.TransEModel(*sizes, norm=settings.norm)
    classes = {
        "distmult": zoo.DistMultModel,
        "complex": zoo.ComplExModel,
        "rotate": zoo.RotatEModel,
        "rescal": zoo.RESCALModel,
        "simple": zoo.SimplEModel,
    }
    return classes[settings.model](*sizes)


def entity_tables(settings: TrainSettings) -> tuple[str, ...]:
    """Names of the parameter tables with one row an entity, each (num_entities, dim)."""
    return _ENTITY_TABLES[settings.model]


def relation_tables(settings: TrainSettings) -> tuple[str, ...]:
    """Names of the parameter tables with one row a relation, each (num_relations, `relation_width`)."""
    return _RELATION_TABLES[settings.model]


def relation_width(settings: TrainSettings) -> int:
    """Numbers in one row of a relation table: dim, or dim² for RESCAL's matrices."""
    return settings.dim**2 if settings.model == "rescal" else settings.dim


def vector_width(settings: TrainSettings) -> int:
    """Numbers in an exported query or item."""
    return settings.dim * len(entity_tables(settings))


def parameter_count(settings: TrainSettings, num_entities: int, num_relations: int) -> int:
    """Float32 numbers of the model."""
    entities = num_entities * settings.dim * len(entity_tables(settings))
    return entities + num_relations * relation_width(settings) * len(relation_tables(settings))


def parameters_by_table(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weight tensors under their table's name, sharing memory with the model."""
    return {name.removesuffix(".weight"): value.detach() for name, value in model.named_parameters()}


def metric_of(settings: TrainSettings) -> Metric:
    """How a query and an item are compared."""
    if settings.model == "transe":
        return "l2" if settings.norm == 2 else "l1"
    return "modulus" if settings.model == "rotate" else "inner_product"


def offset_of(model: torch.nn.Module) -> float:
    """What distance-based scores are added to: RotatE's margin, 0 elsewhere."""
    return float(getattr(model, "margin", 0.0))


def queries(settings: TrainSettings, heads: Rows, relation: Rows) -> torch.Tensor:
    """Translated queries (n, width) of head rows (n, dim) and relation rows (1 or n, relation_width)."""
    match settings.model:
        case "transe":
            return unit_rows(heads["entity_emb"]) + relation["relation_emb"]
        case "distmult":
            return heads["entity_emb"] * relation["relation_emb"]
        case "rescal":
            h = heads["entity_emb"]  # (n, d)
            matrix = relation["relation_matrix"].view(-1, h.shape[1], h.shape[1])  # (1 or n, d, d)
            return h @ matrix[0] if len(matrix) == 1 else torch.einsum("bi,bij->bj", h, matrix)
        case "simple":
            forward = heads["entity_head"] * relation["relation_fwd"]
            return 0.5 * torch.cat([forward, heads["entity_tail"] * relation["relation_inv"]], dim=1)
        case "complex":
            turn = (relation["relation_re"], relation["relation_im"])
            return _complex_product((heads["entity_re"], heads["entity_im"]), turn)
        case _:  # rotate
            phase = relation["relation_phase"]
            return _complex_product(_unit_modulus(heads), (torch.cos(phase), torch.sin(phase)))


def items(settings: TrainSettings, tails: Rows) -> torch.Tensor:
    """Effective items (n, width) of tail rows (n, dim), after the model's own normalisation."""
    match settings.model:
        case "transe":
            return unit_rows(tails["entity_emb"])
        case "distmult" | "rescal":
            return tails["entity_emb"]
        case "simple":
            return torch.cat([tails["entity_tail"], tails["entity_head"]], dim=1)
        case "complex":
            return torch.cat([tails["entity_re"], tails["entity_im"]], dim=1)
        case _:  # rotate
            return torch.cat(_unit_modulus(tails), dim=1)


def tables_of_items(settings: TrainSettings, vectors: torch.Tensor) -> dict[str, torch.Tensor]:
    """Entity rows, by table, whose `items` are the given (n, width), up to the model's own normalisation."""
    parts = vectors.chunk(len(entity_tables(settings)), dim=1)
    names = ("entity_tail", "entity_head") if settings.model == "simple" else entity_tables(settings)
    return dict(zip(names, parts, strict=True))


def _complex_product(left: tuple[torch.Tensor, torch.Tensor], right: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    (a, b), (c, d) = left, right
    return torch.cat([a * c - b * d, a * d + b * c], dim=1)


def _unit_modulus(rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    """Every complex coordinate on the unit circle, with tgraphx's own clamp."""
    real, imaginary = rows["entity_re"], rows["entity_im"]
    modulus = torch.sqrt(real**2 + imaginary**2).clamp(min=1e-12)
    return real / modulus, imaginary / modulus


def moduli(settings: TrainSettings, rows: Rows) -> torch.Tensor:
    """Sizes (n, width) of the coordinates of entity or relation rows, complex ones by their modulus.

    RotatE's relations are angles: every coordinate that they stand for has modulus 1.
    """
    if "relation_phase" in rows:
        return torch.ones_like(rows["relation_phase"])
    parts = list(rows.values())
    if settings.model in ("complex", "rotate"):
        # Not the root of 0, whose slope is infinite.
        return torch.sqrt(parts[0] ** 2 + parts[1] ** 2 + 1e-12)
    return torch.cat([part.abs() for part in parts], dim=1)


def relation_queries(settings: TrainSettings, heads: Rows, relations: Rows, chosen: torch.Tensor) -> torch.Tensor:
    """Translated queries (n, width) of head rows (n, dim), each by the relation row that `chosen` (n,) names."""
    if settings.model != "rescal":
        return queries(settings, heads, {name: rows.index_select(0, chosen) for name, rows in relations.items()})
    # A matrix of its own for every head would be dim times the heads: one product for each relation instead.
    h = heads["entity_emb"]
    parts = [
        torch.where((chosen == at)[:, None], h, 0) @ matrix.view(h.shape[1], -1)
        for at, matrix in enumerate(relations["relation_matrix"])
    ]
    return torch.stack(parts).sum(0)
