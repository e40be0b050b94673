"""Backbones, the two-branch network with its shared head, and the prototype classifier."""
