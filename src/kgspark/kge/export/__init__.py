"""From trained weights to the search space that retrieval ranks with."""
