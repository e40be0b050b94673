"""Domains and pairs of domains: the spec of the data, the prepared store, and images made ready for the networks."""
