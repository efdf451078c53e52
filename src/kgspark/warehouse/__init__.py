"""Publish targets: the places where audited tables go. One file per target, and one line per target in `targets.py`."""
