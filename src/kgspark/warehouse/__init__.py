"""Publish targets: the destinations of audited tables. Each has its own file, and a line in `targets.py`."""
