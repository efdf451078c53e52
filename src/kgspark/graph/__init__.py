"""The knowledge graph as NumPy arrays: layout of the entities, relations, triples, histories. No torch, no Spark."""
