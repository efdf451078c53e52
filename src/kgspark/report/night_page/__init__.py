"""The report of a night: one HTML page that opens offline, made of the night's manifests and tables."""
