"""How Hypothesis looks: the same examples every time, in every process, and nothing kept on the disk."""

from hypothesis import HealthCheck, settings

look = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
