"""`kgspark STAGE CONF [dotted.key=value ...]`: the only code that parses arguments, prints, and sets an exit code."""

from kgspark.cli.main import main

__all__ = ["main"]
