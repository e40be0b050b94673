"""Runs that are killed, or whose disk fails, at every operation and at random moments, end as if undisturbed."""
