"""Alarms: each notices one way in which a run fails silently, says what it means, and can stop or change the run."""
