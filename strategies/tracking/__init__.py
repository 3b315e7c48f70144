"""Studies as MLflow runs."""
