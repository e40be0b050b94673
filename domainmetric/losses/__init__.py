"""Metric losses on pairs and triplets."""
