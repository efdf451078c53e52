"""`python -m kgspark`: the same as `kgspark`."""

import sys

from kgspark.cli import main

if __name__ == "__main__":
    sys.exit(main())
