"""One form of message for what a user can get wrong: field, rule, value, hint."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(key: object, valid: Iterable[str]) -> str:
    """A hint that names the closest valid key, or all of them; it starts with a separator.

    >>> nearest("hihg", ["low", "high"])
    "; did you mean 'high'?"
    >>> nearest("zzz", ["low", "high"])
    '; valid: low, high'
    """
    names = list(valid)
    folded = {name.lower(): name for name in names}
    close = get_close_matches(str(key).lower(), list(folded), n=1, cutoff=0.6)
    if close:
        return f"; did you mean {folded[close[0]]!r}?"
    return f"; valid: {', '.join(names)}" if names else ""


def check_key(field: str, key: object, valid: Iterable[str]) -> None:
    """Raise `ValueError` when `key` is not one of the valid keys of `field`.

    >>> check_key("space.x", "hihg", ["low", "high"])
    Traceback (most recent call last):
    ValueError: space.x: unknown key 'hihg'; did you mean 'high'?
    """
    names = list(valid)
    if key not in names:
        raise ValueError(f"{field}: unknown key {key!r}{nearest(key, names)}")


def check_keys(field: str, keys: Iterable[object], valid: Iterable[str]) -> None:
    """Raise `ValueError` for the first of `keys` that is not valid."""
    names = list(valid)
    for key in keys:
        check_key(field, key, names)


def check_choice(field: str, value: object, valid: Iterable[str]) -> None:
    """Raise `ValueError` when the value of `field` is not one of the valid ones.

    >>> check_choice("port", "sharde", ["shared", "separate"])
    Traceback (most recent call last):
    ValueError: port: must be one of shared, separate, got 'sharde'; did you mean 'shared'?
    """
    names = list(valid)
    if value not in names:
        hint = nearest(value, names) if get_close_matches(str(value), names, n=1) else ""
        raise ValueError(f"{field}: must be one of {', '.join(names)}, got {value!r}{hint}")
