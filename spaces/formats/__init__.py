"""Hierarchical compression formats: patterns, dimension allocations, their grammar and spaces."""
