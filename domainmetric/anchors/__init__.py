"""Anchor strategies: which source image stands for which target image."""
