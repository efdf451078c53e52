"""The files of a source: which there are, what each is, how its lines are laid out, and what was read of it."""
