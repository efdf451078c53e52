"""OpenLineage events of a night: one run of the job of the command, and in it one run per stage that works.

The client chooses the transport by its own environment variables and file (OPENLINEAGE_URL, OPENLINEAGE_CONFIG,
OPENLINEAGE__TRANSPORT__...). Names of datasets are as in OpenLineage's specification: `file` and a path for a disk,
`s3://BUCKET` and a key for an object store.
"""

import os
import re
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
from openlineage.client import OpenLineageClient
from openlineage.client import event_v2 as events
from openlineage.client.facet_v2 import (
    DatasetFacet,
    RunFacet,
    dataset_version_dataset,
    error_message_run,
    job_type_job,
    nominal_time_run,
    output_statistics_output_dataset,
    parent_run,
    processing_engine_run,
    schema_dataset,
)
from openlineage.client.uuid import generate_new_uuid

import kgspark
from kgspark.manifests import Manifest
from kgspark.observers.observer import Ended, Observer
from kgspark.redaction import redact
from kgspark.runs import Outcome, Run, StageWork
from kgspark.tables import PUBLISHED

_PRODUCER = f"kgspark/{kgspark.__version__}"


@dataclass(frozen=True)
class _Job:
    """A run of a job: its id and name."""

    run_id: str
    name: str


class OpenLineage(Observer):
    """Emits START, COMPLETE and FAIL events."""

    name = "OpenLineage"

    def __init__(self, sources: Sequence[str], published: Callable[[], Mapping[str, Sequence[str]]]) -> None:
        """Opens the client.

        sources    paths, URIs and tables that the first stage reads
        published  each published table with its places in the targets
        """
        self._sources, self._published = sources, published
        self._namespace = os.environ.get("OPENLINEAGE_NAMESPACE", "kgspark")
        self._client = OpenLineageClient()
        self._night: _Job | None = None
        self._stages: dict[str, _Job] = {}
        self._date = ""

    def night_began(self, run: Run, command: str) -> None:
        """Emits START of the command."""
        self._night, self._date = _Job(str(generate_new_uuid()), command), run.date
        self._emit(events.RunState.START, self._night)

    def stage_began(self, work: StageWork) -> None:
        """Emits START of the stage, with its inputs."""
        self._stages[work.stage] = _Job(str(generate_new_uuid()), f"{self._job().name}.{work.stage}")
        self._emit(events.RunState.START, self._stages[work.stage], self._inputs(work))

    def stage_ended(self, work: StageWork, outcome: Outcome) -> None:
        """Emits COMPLETE of a stage that worked, with its outputs. Stages that were current have no run."""
        if outcome.ran:
            outputs = [_output(work.run, manifest) for manifest in work.run.manifests(work.outputs)]
            if PUBLISHED in work.outputs:
                outputs += [_published(place) for places in self._published().values() for place in places]
            self._emit(events.RunState.COMPLETE, self._stages.pop(work.stage), self._inputs(work), outputs)

    def stage_failed(self, work: StageWork, error: BaseException) -> None:
        """Emits FAIL of the stage, with the error's line."""
        self._emit(events.RunState.FAIL, self._stages.pop(work.stage), self._inputs(work), facets=_error(error))

    def night_ended(self, run: Run, ended: Ended) -> None:
        """Emits COMPLETE or FAIL of the command."""
        state = events.RunState.FAIL if ended.code else events.RunState.COMPLETE
        self._emit(state, self._job(), facets=_error(ended.error) if ended.code else {})
        self._client.close()

    def _job(self) -> _Job:
        if self._night is None:
            raise RuntimeError("an event before the start of the night")
        return self._night

    def _emit(
        self,
        state: events.RunState,
        job: _Job,
        inputs: Iterable[events.InputDataset] = (),
        outputs: Iterable[events.OutputDataset] = (),
        facets: dict[str, RunFacet] | None = None,
    ) -> None:
        night = self._job()
        told = self._common_facets() | (facets or {})
        if job is not night:
            parent = parent_run.Job(self._namespace, night.name)
            told["parent"] = parent_run.ParentRunFacet(parent_run.Run(night.run_id), parent)
        kind = "NIGHT" if job is night else "STAGE"
        facet = job_type_job.JobTypeJobFacet(processingType="BATCH", integration="KGSPARK", jobType=kind)
        event = events.RunEvent(
            eventTime=datetime.now(UTC).isoformat(),
            producer=_PRODUCER,
            eventType=state,
            run=events.Run(job.run_id, told),
            job=events.Job(self._namespace, job.name, {"jobType": facet}),
            inputs=list(inputs),
            outputs=list(outputs),
        )
        self._client.emit(event)

    def _common_facets(self) -> dict[str, RunFacet]:
        start = datetime.fromisoformat(self._date).replace(tzinfo=UTC)
        end = start + timedelta(days=1)
        engine = processing_engine_run.ProcessingEngineRunFacet(kgspark.__version__, "kgspark")
        nominal = nominal_time_run.NominalTimeRunFacet(start.isoformat(), end.isoformat())
        return {"processing_engine": engine, "nominalTime": nominal}

    def _inputs(self, work: StageWork) -> list[events.InputDataset]:
        outside = self._sources if work.stage == "clean-ratings" else ()
        places = [*outside, *(_place(work.run, table) for table in work.inputs)]
        return [events.InputDataset(*_dataset(place)) for place in places]


def _output(run: Run, manifest: Manifest) -> events.OutputDataset:
    namespace, name = _dataset(_place(run, manifest.table))
    facets: dict[str, DatasetFacet] = {
        "version": dataset_version_dataset.DatasetVersionDatasetFacet(manifest.fingerprint)
    }
    parquet = [file.name for file in manifest.files if file.name.endswith(".parquet")]
    if parquet:
        facets["schema"] = _schema(run.footers(manifest.table)[parquet[0]]())
    size = sum(file.bytes for file in manifest.files)
    counts = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
        manifest.rows, size, len(manifest.files)
    )
    return events.OutputDataset(namespace, name, {"outputStatistics": counts}, facets=facets)


def _published(place: str) -> events.OutputDataset:
    """The published table at a place as the targets name it: without its partition."""
    whole = re.sub(r"[ /]ds=\S+$", "", place)
    address, _, table = whole.rpartition(" ")
    if not address:
        return events.OutputDataset(*_dataset(whole))
    namespace, name = _dataset(address) if "://" in address else (address, "")
    return events.OutputDataset(namespace, f"{name}.{table}".lstrip("."))


def _schema(schema: pa.Schema) -> schema_dataset.SchemaDatasetFacet:
    fields = [schema_dataset.SchemaDatasetFacetFields(field.name, str(field.type)) for field in schema]
    return schema_dataset.SchemaDatasetFacet(fields)


def _error(error: BaseException | str) -> dict[str, RunFacet]:
    trace = "" if isinstance(error, str) else "".join(traceback.format_exception(error))
    facet = error_message_run.ErrorMessageRunFacet(redact(str(error)), "PYTHON", redact(trace) or None)
    return {"errorMessage": facet}


def _place(run: Run, table: str) -> str:
    """The URI of a table in the lake's store, or its path."""
    copy, folder = run.copy, run.place(table)
    return str(folder) if copy is None else f"{copy.store.uri}/{copy.key_of(folder)}"


def _dataset(place: str) -> tuple[str, str]:
    """Namespace and name of a path, a URI, or a table of a catalogue."""
    parts = urlsplit(place)
    if parts.netloc and parts.scheme not in ("", "file"):
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", parts.path.lstrip("/")
    return "file", str(Path(parts.path or place).absolute())
