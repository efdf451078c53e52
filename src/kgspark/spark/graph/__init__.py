"""From clean tables to entities and triples."""
