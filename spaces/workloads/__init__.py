"""Operators of models and how to read them: transformers, Mamba, convolutions, files of other
tools."""
