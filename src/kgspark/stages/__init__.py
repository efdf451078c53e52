"""One file a stage: what it reads, what it writes, and which engine does the work."""
