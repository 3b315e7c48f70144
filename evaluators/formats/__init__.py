"""Bits of compression formats: closed form, real codecs, batches of formats at once."""
