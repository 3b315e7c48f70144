"""Compute-in-memory machines and mappings: Monarch factors, arrays, packings, digital macros."""
