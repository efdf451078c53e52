"""`python -m kgspark.settings_docs [FOLDER]`: writes the files that are generated from the settings classes."""

import sys
from pathlib import Path

from kgspark.settings_docs.markdown import configuration_md
from kgspark.settings_docs.schema import json_schema
from kgspark.settings_docs.yaml_file import nightly_yaml

FILES = {
    "conf/nightly.yaml": nightly_yaml,
    "conf/kgspark.schema.json": json_schema,
    "docs/configuration.md": configuration_md,
}

if __name__ == "__main__":
    root = Path(*sys.argv[1:2])
    for name, render in FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(render(), encoding="utf-8")
