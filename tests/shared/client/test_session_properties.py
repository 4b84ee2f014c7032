"""Whatever the network does, a session passes on every event once, in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.client.session import Session
from shared.ids import Seq
from tests.support.client_frames import C, asked, event, info, resumed, seqs, taken


class World:
    """A server with one channel, a network that misbehaves, and a caller that takes what it gets."""

    def __init__(self) -> None:
        self.head = 0
        self.session = Session(start="beginning")
        self.session.welcome([info(0)])
        self.late: list[int] = []
        self.got: list[int] = []

    def publish(self, how: str) -> None:
        self.head += 1
        if how == "late":
            self.late.append(self.head)
        for _ in range({"deliver": 1, "lose": 0, "twice": 2, "late": 0}[how]):
            self.session.event(event(self.head))

    def answer(self, _: object = None) -> None:
        for seq in self.late:
            self.session.event(event(seq))
        self.late.clear()
        for after in asked(self.session).values():
            self.replay(after)

    def replay(self, after: int) -> None:
        for seq in range(after + 1, self.head + 1):
            self.session.event(event(seq))
        self.session.resumed(resumed(after, self.head, self.head - after))

    def reconnect(self, _: object) -> None:
        cursors = self.session.hello_cursors()
        self.session.welcome([info(self.head)])
        if C in cursors:
            self.replay(cursors[C]["seq"])

    def ping(self, _: object = None) -> None:
        self.session.ping({C: Seq(self.head)})

    def room(self, room: int) -> None:
        self.session.refill(room)

    def check(self) -> None:
        self.got += seqs(taken(self.session))
        assert self.got == list(range(1, len(self.got) + 1))


step = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from(["deliver", "lose", "twice", "late"])),
    st.tuples(st.sampled_from(["answer", "reconnect", "ping"]), st.none()),
    st.tuples(st.just("room"), st.integers(0, 4)),
)


@given(st.lists(step, max_size=60))
def test_every_event_once_in_order(steps: list[tuple[str, object]]) -> None:
    """Losses, duplicates, reordering, reconnects and a slow caller: in the end 1..head, each once."""
    world = World()
    for action, detail in steps:
        getattr(world, action)(detail)
        world.check()
    world.room(1 << 30)
    for _ in range(4):
        world.ping()
        world.answer()
    world.check()
    assert len(world.got) == world.head
