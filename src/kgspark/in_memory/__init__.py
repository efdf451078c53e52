"""Fits frames in memory, without Spark: numbering, split, triples, training, lists."""
