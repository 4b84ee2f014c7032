"""An event as one line for people."""

from __future__ import annotations

from rich.text import Text

from shared.client.wire import EventFrame

_DETAILS = ("text", "emoji", "user", "role", "name", "topic", "days", "older_than")


def line(frame: EventFrame) -> Text:
    """Time, channel, number, author, and what happened; nothing in it is taken for markup."""
    imported = frame.get("imported")
    when = imported["at"] if imported else frame["ts"]
    text = Text()
    text.append(f"{when[:19].replace('T', ' ')} ", style="dim")
    text.append(f"{frame['channel']} ", style="cyan")
    text.append(f"#{frame['seq']} ", style="dim")
    text.append(f"{frame['author']} ", style="bold")
    if frame["kind"] != "message.posted":
        text.append(f"{frame['kind']} ", style="magenta")
    reference = frame.get("thread") or frame.get("ref")
    if reference:
        text.append(f"→ #{reference} ", style="dim")
    text.append(" ".join(str(value) for name in _DETAILS if (value := frame.get(name))))
    return text
