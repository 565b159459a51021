"""What happened, line by line, as drivers and the harness report it.

A line is a word and fields, divided by tabs. The README lists them. When an event came, in seconds
of a clock that only goes forward, the record adds to those that have a field for it.
"""

import threading
import time
from dataclasses import dataclass, field, fields, replace


def moment():
    return field(default=0.0, compare=False)


@dataclass(frozen=True)
class Try:
    """An attempt to send a message begins."""
    producer: str
    number: int
    attempt: str


@dataclass(frozen=True)
class Ack:
    """The broker has said that it has the message, and where."""
    producer: str
    number: int
    attempt: str
    message_id: str
    queue: int
    offset: int


@dataclass(frozen=True)
class Unknown:
    """The attempt is over, and nobody has said whether the broker has the message."""
    producer: str
    number: int
    attempt: str
    reason: str


@dataclass(frozen=True)
class Got:
    """A consumer was handed a message."""
    consumer: str
    number: int
    attempt: str
    message_id: str
    queue: int
    offset: int
    times: int
    tag: str
    age_ms: int
    topic: str
    body: str
    at: float = moment()


@dataclass(frozen=True)
class Sent:
    """A producer is through with its numbers."""
    producer: str


@dataclass(frozen=True)
class Started:
    consumer: str
    at: float = moment()


@dataclass(frozen=True)
class Again:
    """What the broker was too busy for is tried once more: to start a consumer, to make a topic."""
    who: str
    reason: str


@dataclass(frozen=True)
class Stopped:
    consumer: str
    at: float = moment()


@dataclass(frozen=True)
class Error:
    """A driver could not do what it was told."""
    who: str
    reason: str


@dataclass(frozen=True)
class Mark:
    """The harness did something to the broker."""
    what: str
    at: float = moment()


@dataclass(frozen=True)
class Held:
    """Which offset of a group the broker had when it was there again, as it told the harness."""
    group: str
    queue: int
    offset: int


KINDS = {
    "try": Try, "ack": Ack, "unknown": Unknown, "got": Got, "sent": Sent, "started": Started,
    "again": Again, "stopped": Stopped, "error": Error, "mark": Mark,
}


def parse(line):
    """The event of one line. Raises ValueError for what is none."""
    word, *texts = line.split("\t")
    kind = KINDS.get(word)
    if kind is None:
        raise ValueError(f"no event: {line!r}")
    types = [one.type for one in fields(kind) if one.name != "at"]
    if len(texts) != len(types):
        raise ValueError(f"{word} has {len(types)} fields: {line!r}")
    return kind(*(type_(text) for type_, text in zip(types, texts)))


class Record:
    """The events of one scenario, in the order in which they were read."""

    def __init__(self):
        self._events = []
        self._adding = threading.Lock()

    def add(self, event):
        with self._adding:
            if hasattr(event, "at"):
                event = replace(event, at=time.monotonic())
            self._events.append(event)

    def events(self):
        with self._adding:
            return list(self._events)
