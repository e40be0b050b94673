"""Miners choose triplets among pairs."""
