"""Recommenders of other people, measured beside ours. Only measurements import them."""
