"""Public data sets: the bundled one, and those that `kgspark fetch` downloads."""
