"""Spatial, digital and analog machines on one footing, and chips that combine them."""
