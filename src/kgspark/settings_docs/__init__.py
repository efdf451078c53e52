"""The settings classes as people read them: their descriptions are the only prose, everything else is rendered."""
