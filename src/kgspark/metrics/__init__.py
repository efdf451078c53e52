"""Measures of recommendation quality in NumPy: of ranked lists, of links, beyond accuracy, and their uncertainty."""
