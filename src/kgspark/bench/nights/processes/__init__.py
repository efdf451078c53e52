"""Programs that a benchmark starts as separate processes, to time and compare them."""
