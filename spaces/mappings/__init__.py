"""Loop nests with placements: loop orders, tilings, unrolling, their space and their files."""
