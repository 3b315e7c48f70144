"""Keeps passwords of URIs out of everything that is printed, logged, recorded or tracked.

A URI with a password may come from the environment, `tracking.uri='${oc.env:TRACKING_URI}'`. Typed
on the command line it is refused, because process lists, histories and Hydra's own files show it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

_PASSWORD = re.compile(r"(://[^/\s:@]*):[^/\s]*@|([?&])password=[^&\s]*")


def redacted(text: str) -> str:
    """The text with the password of every URI in it replaced.

    >>> redacted("postgresql://me:secret@db:5432/runs")
    'postgresql://me:***@db:5432/runs'
    >>> redacted("postgresql://db/runs?user=me&password=secret")
    'postgresql://db/runs?user=me&password=***'
    """
    return _PASSWORD.sub(lambda m: f"{m[1]}:***@" if m[1] else f"{m[2]}password=***", text)


def scrubbed(error: BaseException, uri: str) -> str:
    """The message of an error on one line, without the password of `uri`."""
    password = urlsplit(uri).password
    text = " ".join(str(error).split()) or type(error).__name__
    return redacted(text.replace(password, "***") if password else text)[:300]


def without_passwords(node: Any) -> Any:
    """Plain data whose URIs have no password, so that PGPASSWORD or ~/.pgpass can supply it.

    >>> without_passwords({"uri": ["postgresql://me:secret@db/runs", 1]})
    {'uri': ['postgresql://me@db/runs', 1]}
    """
    if isinstance(node, str):
        return _PASSWORD.sub(lambda m: f"{m[1]}@" if m[1] else m[2], node)
    if isinstance(node, Mapping):
        return {key: without_passwords(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [without_passwords(value) for value in node]
    return node


def refuse_passwords(arguments: Sequence[str]) -> None:
    """Raise ValueError, without repeating it, for an argument that holds a password."""
    for argument in arguments:
        if _PASSWORD.search(argument):
            key = argument.split("=")[0].lstrip("+~")
            raise ValueError(
                f"{key}: must not hold a password, others can read command lines; put it into "
                f"PGPASSWORD or ~/.pgpass, or the whole URI into the environment: "
                f"'{key}=${{oc.env:MY_URI}}'"
            )
