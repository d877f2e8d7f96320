"""The reasons that exceptions are. What the network does to a sound function has a code of its own; all else is a mistake of
the function, `internal`, and its traceback is for the log.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import subprocess

from . import Failed, Refused, TaskOver

_BY_ERRNO = {
    errno.ECONNREFUSED: "connection-refused",
    errno.ECONNRESET: "connection-reset",
    errno.ECONNABORTED: "connection-reset",
    errno.EPIPE: "connection-reset",
    errno.ETIMEDOUT: "timeout",
    errno.ENETUNREACH: "no-route",
    errno.EHOSTUNREACH: "unreachable",
    errno.EAFNOSUPPORT: "address-family",
    errno.EADDRNOTAVAIL: "address-family",
    errno.EPERM: "unprivileged",
    errno.EACCES: "unprivileged",
}
_BY_CLASS = {
    ConnectionRefusedError: "connection-refused",
    ConnectionResetError: "connection-reset",
    ConnectionAbortedError: "connection-reset",
    BrokenPipeError: "connection-reset",
    PermissionError: "unprivileged",
}


def of(error: BaseException) -> tuple[bool, str, str | None, bool]:
    """Whether it is a refusal, its code, its detail, and whether it may happen to a sound function."""
    text = str(error) or type(error).__name__
    if isinstance(error, Failed):
        return isinstance(error, Refused), error.code, error.detail or None, True
    if isinstance(error, TaskOver):
        return False, "deadline", "the task is over", True
    if isinstance(error, ssl.SSLError):
        return False, "tls", text, True
    if isinstance(error, socket.gaierror):
        return False, "unresolvable", text, True
    if isinstance(error, (TimeoutError, asyncio.TimeoutError, subprocess.TimeoutExpired)):
        return False, "timeout", text, True
    if isinstance(error, (EOFError, asyncio.IncompleteReadError)):
        return False, "protocol", text, True
    if isinstance(error, OSError):
        # Whoever raises one by hand gives no number.
        by_class = next((code for kind, code in _BY_CLASS.items() if isinstance(error, kind)), None)
        code = _BY_ERRNO.get(error.errno or 0, by_class)
        return False, code or "system", text, code is not None
    return False, "internal", f"{type(error).__name__}: {error}", False
