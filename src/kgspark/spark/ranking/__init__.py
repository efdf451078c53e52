"""Bulk ranking on the executors: candidates, the query stream, the audit."""
