"""Programs that a benchmark starts as processes of their own, to time and compare them."""
