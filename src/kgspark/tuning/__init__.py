"""A search for better settings: its space, its proposals, its results."""
