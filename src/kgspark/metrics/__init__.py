"""Metrics in NumPy: for ranked lists, for links, beyond accuracy, and their confidence intervals."""
