"""Benchmarks: timings against the alternative in the same run. `make bench` runs them."""
