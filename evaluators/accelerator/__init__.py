"""The sparse spatial accelerator: traffic, energy, latency, area of a mapping with formats."""
