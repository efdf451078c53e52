"""Where tables are audited and published."""
