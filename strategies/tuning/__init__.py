"""The generic tuner: ask, evaluate, tell, write down; batches, budgets, workers, the trial log."""
