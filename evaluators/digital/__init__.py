"""Digital compute-in-memory: gate-level macros, FlexCiM, its baselines."""
