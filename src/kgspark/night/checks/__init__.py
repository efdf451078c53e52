"""Decides whether a night may be published: the audit and the gate."""
