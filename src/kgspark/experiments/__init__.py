"""Commands that train or rank more than one night: evaluate, tune, generate."""
