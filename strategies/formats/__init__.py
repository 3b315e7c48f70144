"""Search of compression formats: engine, sharing, maps and savings."""
