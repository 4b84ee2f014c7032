"""Fresh commits of many clients to one log, in one atomic batch where that is cheaper.

In the mode `power` a log on a single server waits for the disk once per message, and four times per batch,
whatever its size. So commits go out one by one, but only as many at a time as a batch must have at least;
what comes while so many are under way waits, and goes as one batch if it is enough by then. There is no
timer: nothing waits while its log has nothing to do, and a small load never sees a batch.

A batch is stored whole or not at all. If JetStream refuses it, because one of the ids is known or one of the
bodies is too large, each of its commits goes out by itself. If no answer came, nobody knows their outcome,
and whoever made them tries on under the same ids. Each channel's order is its callers' care: a session has
one fresh command of a channel under way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass

from edge import metrics
from shared.bus import Bus, Draft, PubAck
from shared.errors import OutcomeUnknown, ParleyError
from shared.retry import Deadline

GROUP_MIN = 16
"""Below this one by one is as cheap for JetStream (see DESIGN.md, 2026-11-25)."""

GROUP_MAX = 200
"""JetStream takes 1,000; a refused batch costs as many single commits."""

Then = Callable[[PubAck | ParleyError | None], None]
"""What `Bus.commit_soon` tells: the answer, or None if nothing is known."""


@dataclass(slots=True)
class _Commit:
    draft: Draft
    deadline: Deadline
    then: Then
    unsent: Callable[[], None]


@dataclass(slots=True)
class _Log:
    waiting: deque[_Commit]
    alone: int = 0
    """Single commits under way."""
    group: bool = False
    """Whether a batch is under way."""


class GroupCommits:
    """The first try of fresh commits. With `grouping` off it is `Bus.commit_soon`.

    `waiting_max`: more commits of one log than the caller ever has under way.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        grouping: bool,
        waiting_max: int,
        spawn: Callable[[Coroutine[object, object, None]], object],
    ) -> None:
        self._bus = bus
        self._grouping = grouping
        self._waiting_max = waiting_max
        self._spawn = spawn
        self._logs: dict[str, _Log] = {}

    def commit_soon(
        self,
        log_name: str,
        subject: str,
        body: bytes,
        *,
        msg_id: str,
        headers: Mapping[str, str],
        deadline: Deadline,
        then: Then,
        unsent: Callable[[], None],
    ) -> None:
        """Send now or with others; `then` hears of the answer, or `unsent` that there was no connection.

        What still waits when its deadline has passed is not sent (None is told): the edge was stopped
        meanwhile, and JetStream may have forgotten the id.
        """
        if not self._grouping:
            if not self._bus.commit_soon(subject, body, msg_id=msg_id, headers=headers, then=then):
                unsent()
            return
        log = self._logs.get(log_name)
        if log is None:
            log = self._logs[log_name] = _Log(deque(maxlen=self._waiting_max))
        commit = _Commit(Draft(subject, body, msg_id, headers), deadline, then, unsent)
        if log.group or log.alone >= GROUP_MIN:
            assert len(log.waiting) < self._waiting_max, "the breaker bounds what is under way"
            log.waiting.append(commit)
        else:
            self._send_alone(log, commit)

    def _send_alone(self, log: _Log, commit: _Commit) -> None:
        if commit.deadline.passed:
            asyncio.get_running_loop().call_soon(commit.then, None)
            return

        def then(outcome: PubAck | ParleyError | None) -> None:
            log.alone -= 1
            try:
                commit.then(outcome)
            finally:
                self._go_on(log)

        log.alone += 1
        subject, body, msg_id, headers = commit.draft
        if not self._bus.commit_soon(subject, body, msg_id=msg_id, headers=headers, then=then):
            log.alone -= 1
            commit.unsent()

    def _go_on(self, log: _Log) -> None:
        """Something has ended: what waits goes as a batch if it is enough, else one by one."""
        if log.group:
            return
        if len(log.waiting) >= GROUP_MIN:
            group = [log.waiting.popleft() for _ in range(min(len(log.waiting), GROUP_MAX))]
            log.group = True
            self._spawn(self._send_group(log, group))
            return
        while log.waiting and log.alone < GROUP_MIN:
            self._send_alone(log, log.waiting.popleft())

    async def _send_group(self, log: _Log, group: list[_Commit]) -> None:
        metrics.GROUP_COMMITS.observe(len(group))
        outcome: list[PubAck] | ParleyError = OutcomeUnknown("the edge failed")  # if a bug ends it
        try:
            if group[0].deadline.passed:  # the oldest
                raise OutcomeUnknown("too late to be sent")
            positions = await self._bus.commit_together([commit.draft for commit in group])
            outcome = [PubAck("", position, duplicate=False, retried=False) for position in positions]
        except ParleyError as error:
            outcome = error
        finally:
            log.group = False
            self._answer(log, group, outcome)
            self._go_on(log)

    def _answer(self, log: _Log, group: list[_Commit], outcome: list[PubAck] | ParleyError) -> None:
        """Each in a call of its own, so that whoever fails at it leaves the others theirs."""
        loop = asyncio.get_running_loop()
        if isinstance(outcome, OutcomeUnknown):
            metrics.GROUPS.labels("unknown").inc()
            for commit in group:
                loop.call_soon(commit.then, None)
        elif isinstance(outcome, ParleyError):
            metrics.GROUPS.labels("refused").inc()
            for commit in group:
                self._send_alone(log, commit)
        else:
            metrics.GROUPS.labels("recorded").inc()
            for commit, ack in zip(group, outcome, strict=True):
                loop.call_soon(commit.then, ack)
