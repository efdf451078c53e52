"""A search for better settings: what may change, what is proposed next, and what came of it."""
