"""Heterogeneous chips: which machine holds each projection, and in what form."""
