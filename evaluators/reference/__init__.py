"""The reference model's own accounting and the published figures ours is checked against."""
