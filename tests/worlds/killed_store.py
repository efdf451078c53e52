"""A process that publishes a night to a table store, and is killed while it writes the second table.

Arguments: the target's name, its settings as JSON, the lake, the date.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kgspark.runs import Run
from kgspark.tables import RANKED
from kgspark.warehouse.settings import PublishSettings
from kgspark.warehouse.table_rows import Stream
from kgspark.warehouse.targets import TARGETS


def main(name: str, settings: str, lake: str, date: str) -> None:
    batches = Stream.batches

    def killed(stream: Stream) -> Iterator[Any]:
        for batch in batches(stream):
            yield batch
            if stream.rows.table == RANKED[-1]:
                os.kill(os.getpid(), signal.SIGKILL)

    Stream.batches = killed
    target = TARGETS[name](PublishSettings.model_validate({name: json.loads(settings)}), lambda: None)
    target.publish(Run(Path(lake), date), RANKED)


if __name__ == "__main__":
    main(*sys.argv[1:])
