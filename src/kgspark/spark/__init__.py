"""Cleaning, numbering and triples on Spark; the only importer of pyspark."""
