"""Tells other programs about a night: a Prometheus file, OpenLineage events, and MLflow runs, all from manifests."""
