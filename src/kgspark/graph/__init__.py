"""The knowledge graph as NumPy arrays: entities, relations, triples, histories. No torch, no Spark."""
