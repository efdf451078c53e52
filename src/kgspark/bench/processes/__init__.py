"""Programs that a benchmark starts and times as processes of their own."""
