"""What the wheel has besides code: `conf/` with the schema, and MovieLens latest-small.

In a checkout, both are links to the folders `conf` and `tests/data/ml-latest-small`; a build copies the files.
"""

from pathlib import Path

_HERE = Path(__file__).parent
CONF = _HERE / "conf"
ML_LATEST_SMALL = _HERE / "ml-latest-small"
