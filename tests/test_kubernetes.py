"""The manifest for the Spark operator fits the operator's own API."""

from typing import Any

import pytest
import yaml

from nights import ROOT

models = pytest.importorskip("kubeflow_spark_api.models", reason="the extra dev is not installed")
MANIFEST = ROOT / "conf" / "kubernetes" / "spark-application.yaml"


def _parsed(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest as the API understands it: what it does not know is missing."""
    model = models.SparkV1beta2ScheduledSparkApplication
    return dict(model.model_validate(manifest).model_dump(by_alias=True, exclude_none=True, mode="json"))


def test_the_operator_knows_every_field_of_the_manifest() -> None:
    manifest = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
    assert _parsed(manifest) == manifest
    manifest["spec"]["template"]["executor"]["volumeMount"] = []
    assert _parsed(manifest) != manifest


def test_its_job_and_its_arguments_exist() -> None:
    template = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))["spec"]["template"]
    assert (ROOT / template["mainApplicationFile"].removeprefix("local:///opt/kgspark/")).is_file()
    mounted = {mount["mountPath"] for part in ("driver", "executor") for mount in template[part]["volumeMounts"]}
    assert mounted == {"/mnt/lake"}
    assert all("/mnt/lake" in argument for argument in template["arguments"])
