"""A cost of your own: keyword arguments in, metrics out."""


def evaluate(tile: int, banks: int, policy: str) -> dict[str, float]:
    """Energy and latency of an imaginary buffer."""
    misses = 4096 / tile * (1.5 if policy == "random" else 1.0)
    return {"energy_pj": 0.2 * tile**1.5 + 40 * misses, "latency_cycles": misses / banks + banks}
