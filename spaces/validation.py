"""One form of message for what a user can get wrong: field, rule, value, hint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class FieldError(ValueError):
    """A field of the user's that breaks a rule.

    Args:
        message: One line, the field first.
        field: Dotted path of the field at fault (`hardware.levels.GLB.kind`, `nest[2]`), so that a
            reader of files can find its line.
    """

    def __init__(self, message: str, field: str):
        super().__init__(message)
        self.field = field

    def __reduce__(self) -> tuple[type[FieldError], tuple[str, str]]:
        return type(self), (str(self), self.field)


@contextmanager
def field_errors(field: str) -> Iterator[None]:
    """Raise any `ValueError` of the block as a `FieldError` whose message begins with the field.

    >>> with field_errors("bits"):
    ...     raise ValueError("must be positive")
    Traceback (most recent call last):
    spaces.validation.FieldError: bits: must be positive
    """
    try:
        yield
    except FieldError:
        raise
    except ValueError as error:
        message = " ".join(str(error).split())
        if not message.startswith(field):
            raise FieldError(f"{field}: {message}", field) from None
        raise FieldError(message, message.split()[0].rstrip(":")) from None


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
    """Raise `FieldError` when `key` is not one of the valid keys of `field`.

    >>> check_key("space.x", "hihg", ["low", "high"])
    Traceback (most recent call last):
    spaces.validation.FieldError: space.x: unknown key 'hihg'; did you mean 'high'?
    """
    names = list(valid)
    if key not in names:
        raise FieldError(f"{field}: unknown key {key!r}{nearest(key, names)}", f"{field}.{key}")


def check_keys(field: str, keys: Iterable[object], valid: Iterable[str]) -> None:
    """Raise `FieldError` for the first of `keys` that is not valid."""
    names = list(valid)
    for key in keys:
        check_key(field, key, names)


def check_choice(field: str, value: object, valid: Iterable[str]) -> None:
    """Raise `FieldError` when the value of `field` is not one of the valid ones.

    >>> check_choice("x", "lwo", ["low", "high"])
    Traceback (most recent call last):
    spaces.validation.FieldError: x: must be one of low, high, got 'lwo'; did you mean 'low'?
    """
    names = list(valid)
    if value not in names:
        hint = nearest(value, names) if get_close_matches(str(value), names, n=1) else ""
        message = f"{field}: must be one of {', '.join(names)}, got {value!r}{hint}"
        raise FieldError(message, field)
