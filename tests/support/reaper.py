"""Removes the containers that a test process left behind: `python -m tests.support.reaper SESSION`.

testcontainers' own reaper is an image of a registry. This one is a process: it waits for the end of its
standard input, which comes with the end of whoever holds the other side, by Ctrl-C and by SIGKILL too.
"""

from __future__ import annotations

import sys
import time

import docker
from docker.errors import DockerException
from testcontainers.core.labels import LABEL_SESSION_ID

QUIET_S = 3.0
"""So long after the last one was seen; a container that was being made then would still show itself."""
GIVE_UP_S = 60.0


def main(session: str) -> None:
    """Return when no container bears the label of `session`, or after `GIVE_UP_S`."""
    sys.stdin.buffer.read()
    client = docker.from_env()
    now = time.monotonic()
    seen, give_up = now, now + GIVE_UP_S
    while now < min(seen + QUIET_S, give_up):
        if _remove(client, session):
            seen = time.monotonic()
        time.sleep(0.2)
        now = time.monotonic()


def _remove(client: docker.DockerClient, session: str) -> bool:
    """Whether there was a container, or an engine that could not say so."""
    try:
        left = client.containers.list(
            all=True, ignore_removed=True, filters={"label": f"{LABEL_SESSION_ID}={session}"}
        )
        for container in left:
            container.remove(force=True)
    except DockerException:
        return True
    return bool(left)


if __name__ == "__main__":
    main(sys.argv[1])
