"""What a design costs: pure, vectorised, analytical models."""
