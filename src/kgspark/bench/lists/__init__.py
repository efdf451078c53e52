"""The lists of a ranked table: the time to make them, and what they are worth."""
