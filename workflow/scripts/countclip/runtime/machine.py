"""Errors of this machine, told from those of hosts and of users' files; its limit of open files.

A full disk or too many open files must end a job. As the fault of a host or an image, they would
be recorded for good.
"""

import errno
import logging
import os
import resource
from collections.abc import Iterator

log = logging.getLogger(__name__)

ADVICE = {
    errno.EMFILE: "raise the limit of open files (`ulimit -n`) or lower fetch.connections and"
    " countbench.request.threads",
    errno.ENFILE: "end other programs or raise fs.file-max",
    errno.ENOMEM: "run fewer jobs at a time (--cores) or end other programs",
    errno.ENOBUFS: "lower fetch.connections and countbench.request.threads",
    errno.EADDRNOTAVAIL: "lower fetch.connections and countbench.request.threads",
    errno.ENETDOWN: "restore the network",
    errno.EAGAIN: "raise the limit of processes (`ulimit -u`) or lower --cores and"
    " fetch.connections",
    errno.ENOSPC: "free space on the disk of the working directory and of the temporary files",
    errno.EDQUOT: "free space, or get a larger quota",
    errno.EROFS: "make its disk writable, or run elsewhere (--directory)",
    errno.EIO: "check the disk",
    errno.EACCES: "give this user the right to read and write it",
    errno.EPERM: "give this user the right to read and write it",
}
"""Errors of this machine, and what to do against each."""
OF_CONNECTIONS = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL, errno.ENETDOWN}
)
"""Those that a socket raises. A host cannot cause them, as it can EACCES (a broadcast address)."""
OF_ALL_FILES = frozenset(ADVICE) - {errno.EACCES, errno.EPERM, errno.EIO}
"""Those that concern every file alike. The others may be the fault of one file of a user."""
ENOUGH = 1 << 28  # bytes; whoever cannot allocate so many is short of memory
RESERVE = 96  # files of a process besides its connections
PER_CONNECTION = 8  # files of a session: idle connections, the present one, the look-up of a name


def machine_error(error: BaseException, codes: frozenset[int] | None = None) -> OSError | None:
    """The error of this machine in an exception or its causes; None if there is none.

    codes: of ADVICE, those that count; all by default.
    """
    codes = frozenset(ADVICE) if codes is None else codes
    for cause in _causes(error):
        if isinstance(cause, MemoryError) and _short_of_memory():
            return OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        if isinstance(cause, RuntimeError) and "can't start new thread" in str(cause):
            return OSError(errno.EAGAIN, "no further thread can start")
        # The numbers of TLS and of the look-up of names are other ones.
        of_the_system = type(cause).__module__ not in ("ssl", "socket")
        if isinstance(cause, OSError) and cause.errno in codes and of_the_system:
            return cause
    return None


def raise_machine_error(error: BaseException, codes: frozenset[int] | None = None) -> None:
    """Raise the error of this machine in an exception or its causes, if there is one."""
    if found := machine_error(error, codes):
        raise found


def explain(error: OSError) -> str:
    """What is wrong with this machine, where, and what to do."""
    place = "" if error.filename is None else f": {error.filename}"
    text = error.strerror or os.strerror(error.errno)
    return f"this machine: {text}{place}; {ADVICE[error.errno]}, and run again"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and all that led to it: causes, contexts, and what libraries wrapped."""
    found, pending = set(), [error]
    while pending:
        cause = pending.pop()
        if isinstance(cause, BaseException) and id(cause) not in found:
            found.add(id(cause))
            pending += [cause.__cause__, cause.__context__, *cause.args]
            pending += [getattr(cause, "reason", None)]
            yield cause


def _short_of_memory() -> bool:
    """Whether memory is short. A hostile image raises MemoryError where it is not."""
    try:
        return not bytearray(ENOUGH)
    except MemoryError:
        return True


def affordable_connections(wanted: int, key: str) -> int:
    """The connections that this process can have, at most `wanted` and at least one.

    The soft limit of open files is raised as far as they need and the hard limit allows. Child
    processes inherit it. key: of the config, for the warning if there are fewer.
    """
    limit = _raised_limit(RESERVE + PER_CONNECTION * wanted)
    if (found := max(1, min(wanted, (limit - RESERVE) // PER_CONNECTION))) < wanted:
        log.warning(
            "this machine allows a process %d open files (`ulimit -n`): %d connections at a time,"
            " not %d as %s says",
            limit, found, wanted, key,
        )  # fmt: skip
    return found


def _raised_limit(needed: int) -> int:
    """The limit of open files, its soft part raised to `needed` or the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, highest = (needed if n == resource.RLIM_INFINITY else n for n in (soft, hard))
    if soft >= needed:
        return soft
    wanted = min(needed, highest)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError):  # a system with a lower limit of its own
        return soft
    return wanted
