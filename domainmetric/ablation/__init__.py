"""Ablations: named variants of an experiment times seeds, run side by side and compared."""
