"""One file per stage, with its inputs, its outputs, and the call of the engine that does the work."""
