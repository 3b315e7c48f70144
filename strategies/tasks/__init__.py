"""What `run.py task=...` does, and how a configuration becomes objects."""
