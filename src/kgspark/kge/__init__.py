"""Knowledge-graph embeddings: the only importer of torch and tgraphx."""
