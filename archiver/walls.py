"""What a process gives up for good before it runs strangers' SQL: writing, the network, and any excess.

Landlock (Linux 5.13 and later) takes the right to write, create, truncate and connect from this process and
everything that it starts; no privilege is needed for it, and none gives it back. Whoever is root also becomes
`nobody`, if `nobody` can read the archive. DuckDB's own settings are not a wall: with a list of allowed paths
it overwrites the files on it, and its memory limit lets single values of gigabytes through.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

from shared.errors import Misconfigured

_NOBODY = 65534
_FILES_MAX = 4096
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULE_PATH_BENEATH = 1
_READ = 1 << 2 | 1 << 3
"""READ_FILE and READ_DIR."""

_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
"""How many rights over files each version of Landlock knows; from 5 on, 16."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def limit(*, memory_bytes: int, cpu_s: int) -> None:
    """Bound memory and processor time, no file may grow, no core is dumped."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))  # SIGXCPU first: it says why
    for name, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, min(_FILES_MAX, resource.getrlimit(resource.RLIMIT_NOFILE)[1])),
    ):
        resource.setrlimit(name, (value, value))


def confine(readable: Iterable[Path]) -> bool:
    """Allow reading below these paths and nothing else. False if this kernel has no Landlock.

    Binds the calling thread and what it starts: call it while there is one. It can be called again to allow
    less. Raises OSError.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return False
    rules = _Ruleset(
        (1 << _FILE_RIGHTS.get(version, 16)) - 1, 3 if version >= 4 else 0, 3 if version >= 6 else 0
    )
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = _done(libc.syscall(_CREATE_RULESET, ctypes.byref(rules), size, 0))
    try:
        for path in readable:
            _allow(libc, ruleset, path)
        _done(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _done(libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return True


def can_become_nobody(must_read: Path | None) -> bool:
    """Whether this is root, and `nobody` could open `must_read`. Others stay who they are."""
    return os.geteuid() == 0 and (must_read is None or _readable_by_nobody(must_read))


def become_nobody() -> None:
    """What has to be loaded is: that one may not even read where Python is."""
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def die_with(parent: int) -> None:
    """End when the parent does; call it again after a change of user, with which the kernel forgets it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def require_walls(*, confined: bool, can_be_nobody: bool, unconfined_allowed: bool) -> None:
    """Raises `Misconfigured` if this process could still write what its user may write."""
    if not (confined or can_be_nobody or unconfined_allowed):
        raise Misconfigured(
            "SQL of users needs Linux with Landlock (5.13 or later), or an archiver that runs as root and an"
            " archive that everybody may read; PARLEY_SQL_UNCONFINED=true runs it without that wall"
        )


def _readable_by_nobody(path: Path) -> bool:
    os.seteuid(_NOBODY)
    try:
        path.open("rb").close()
    except OSError:
        return False
    else:
        return True
    finally:
        os.seteuid(0)


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path) -> None:
    parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        allowed = _READ if path.is_dir() else 1 << 2
        rule = _Beneath(allowed, parent)
        _done(libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0))
    finally:
        os.close(parent)


def _done(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(result)
