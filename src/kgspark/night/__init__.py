"""A night: its settings, its folder, and what its stages read."""
