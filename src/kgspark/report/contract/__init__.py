"""The contract of the published tables with their readers: what holds in them, in the formats of ODCS and of dbt."""
