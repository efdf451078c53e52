"""Exact filtered top-K: the only importer of faiss."""
