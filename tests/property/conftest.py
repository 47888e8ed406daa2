"""Properties are tried on shared machines: how long one example takes says nothing."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "shared",
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("shared")
