"""Recommenders of other projects, to compare with ours. Only evaluations and benchmarks import them."""
