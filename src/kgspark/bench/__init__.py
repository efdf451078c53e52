"""Measurements of kgspark beside its peers. Nothing else imports this package."""
