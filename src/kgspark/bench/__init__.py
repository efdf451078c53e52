"""Benchmarks of kgspark and its peers. Nothing else imports this package."""
