"""The audit of ranked tables: what is checked, the bounds and severities, and the pass over the tables on Spark."""
