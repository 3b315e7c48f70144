"""Analog compute-in-memory: schedules, costs and a simulator that executes them."""
