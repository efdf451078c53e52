"""kgspark turns a ratings log into tomorrow's recommendation tables."""

__version__ = "0.1.0"
