"""How to search: strategies, the tuner, its tracking and its report."""
