"""Certified optimum of one operator and of a model, and the certificate."""
