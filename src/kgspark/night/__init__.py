"""A night: its settings, its folder, and the inputs of its stages."""
