"""Density models: the chance that a tile is empty and what it is expected to hold."""
