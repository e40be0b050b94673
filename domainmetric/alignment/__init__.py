"""Alignment terms: what brings the two domains' embeddings together without target labels."""
