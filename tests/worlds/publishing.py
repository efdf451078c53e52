"""A publication in a process of its own."""

import json
import os
from collections.abc import Mapping

from kgspark.runs import Run
from kgspark.tables import RANKED
from kgspark.warehouse.settings import PublishSettings
from kgspark.warehouse.targets import TARGETS


def publish(environment: Mapping[str, str], name: str, settings: str, run: Run) -> None:
    """Publishes all ranked tables of a night to the target of a name, with its settings as JSON."""
    os.environ.update(environment)
    TARGETS[name](PublishSettings.model_validate({name: json.loads(settings)}), lambda: None).publish(run, RANKED)
