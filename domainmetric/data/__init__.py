"""Domains and pairs of domains: the spec of the data, the prepared store, and the images made ready for the networks."""
