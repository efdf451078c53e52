"""`python -m kgspark.cli`: the same as `kgspark`."""

import sys

from kgspark.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
