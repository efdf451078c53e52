"""One file per stage: its inputs, its outputs, and the call of the engine that does the work."""
