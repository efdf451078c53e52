"""Commands on a lake that is there: look at nights, ask them, check a configuration, go back to an earlier night."""
