"""The account: which messages must have arrived, which may, and what explains each repetition.

`judge` is a function of a record and an expectation alone, so that a record can be kept, changed
and judged again; `spoil` makes the changes that it has to notice.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import Callable, Optional

from record import Ack, Again, Error, Got, Held, Mark, Started, Stopped, Try, Unknown

SHARDS = 4

#: A client sends its offsets to the broker for the first time so long after its start, and then so
#: often; the broker may keep them for so long before they are on its disk; and so much later may a
#: busy machine do either.
FIRST_COMMIT_SECONDS = 10
COMMIT_SECONDS = 5
BROKER_COMMIT_SECONDS = 5
BUSY_SECONDS = 3


@dataclass
class Reader:
    """A group of consumers, and what it has to get."""
    members: list
    wants: Callable[[int], bool] = lambda number: True
    #: Each member gets everything.
    broadcasting: bool = False
    #: Messages of a shard come in the order of their numbers.
    ordered: bool = False
    #: A message may come again after a consumer has joined or left or the broker has ended, unless
    #: its offset had to be committed by the time that the broker ended.
    repeats: bool = False
    #: So many messages have to have come early enough for that, or it says nothing; and the broker
    #: has their offsets when it is there again.
    committed_min: int = 0
    #: From which number on messages were sent after a member had joined; it gets one of these as the
    #: first of all.
    joined_at: dict = field(default_factory=dict)
    #: What the broker hands out lies where the acknowledgement said.
    in_place: bool = True
    #: The count of deliveries of each number, where failures cause more than one.
    deliveries: Optional[Callable[[int], int]] = None
    #: Milliseconds before which the message with a number may not come.
    age_min_ms: Callable[[int], int] = lambda number: 0
    #: The tag of a number.
    tag: Optional[Callable[[int], str]] = None


@dataclass
class Expectation:
    topic: str
    #: How many numbers are sent.
    count: int
    readers: list = field(default_factory=list)
    #: How many of them have to be acknowledged at least.
    acknowledged_min: int = 0
    #: How many have to arrive at least, acknowledged or not.
    arrived_min: int = 0
    #: What the harness has to have done to the broker.
    marks: tuple = ()

    @property
    def in_place(self):
        return any(reader.in_place for reader in self.readers)


@dataclass
class Verdict:
    complaints: list
    counts: dict

    def __bool__(self):
        return not self.complaints


class Sending:
    """What producers know about each attempt."""

    def __init__(self, events):
        self.tried = defaultdict(list)
        self.acknowledged = {}
        self.unknown = set()
        for event in events:
            if isinstance(event, Try):
                self.tried[event.number].append(event.attempt)
            elif isinstance(event, Ack):
                self.acknowledged[event.attempt] = event
            elif isinstance(event, Unknown):
                self.unknown.add(event.attempt)

    def complaints(self, expected):
        for number, attempts in self.tried.items():
            for attempt in attempts[:-1]:
                if attempt in self.acknowledged:
                    yield f"number {number} was sent again after {attempt} had been acknowledged"
            for attempt in attempts:
                if (attempt in self.acknowledged) == (attempt in self.unknown):
                    yield f"attempt {attempt} has no outcome or two"
        if len(self.tried) != expected.count:
            yield f"{len(self.tried)} of {expected.count} numbers were sent"
        if len(self.acknowledged) < expected.acknowledged_min:
            yield f"only {len(self.acknowledged)} of {expected.acknowledged_min} were acknowledged"
        positions = Counter((ack.queue, ack.offset) for ack in self.acknowledged.values())
        for position, times in positions.items():
            # A delayed message is acknowledged at its place among those of its delay level.
            if times > 1 and expected.in_place:
                yield f"{times} messages were acknowledged at queue and offset {position}"


def judge(events, expected):
    """Holds a record against what is expected of it."""
    sending = Sending(events)
    complaints = [f"{event.who}: {event.reason}" for event in events if isinstance(event, Error)]
    complaints += sending.complaints(expected)
    marks = [event.what for event in events if isinstance(event, Mark)]
    if tuple(marks) != tuple(expected.marks):
        complaints.append(f"the broker saw {marks}, not {list(expected.marks)}")
    arrived, repeated = set(), 0
    for reader in expected.readers:
        views = [[member] for member in reader.members] if reader.broadcasting else [reader.members]
        for members in views:
            found, again = [], Counter()
            complaints += judge_view(events, sending, expected, reader, members, found, again)
            arrived.update(found)
            repeated += sum(times - 1 for times in again.values())
        complaints += after_stop(events, reader)
    if len(arrived) < expected.arrived_min:
        complaints.append(f"only {len(arrived)} of {expected.arrived_min} arrived")
    counts = {
        "sent": len(sending.tried),
        "acknowledged": len(sending.acknowledged),
        "unknown": len(sending.unknown),
        "arrived": len(arrived),
        "repeated": repeated,
        "tried_again": sum(isinstance(event, Again) for event in events),
    }
    return Verdict(complaints, counts)


def judge_view(events, sending, expected, reader, members, found, again):
    """The complaints about what some consumers got together, who share the work."""
    disturbed = set()  # consumers and brokers that came or went so far
    committed = committed_at_the_end(events, members)
    place = {}  # attempt -> where it was when it came for the first time
    latest = defaultdict(lambda: -1)  # shard -> the highest number so far
    deliveries = defaultdict(list)  # number -> how often it had failed, each time
    for event in events:
        if isinstance(event, (Started, Stopped)) and event.consumer in members or isinstance(event, Mark):
            disturbed.add(event)
        if not isinstance(event, Got) or event.consumer not in members:
            continue
        who = f"{event.consumer} got {event.attempt}"
        found.append(event.attempt)
        if event.attempt not in sending.tried[event.number]:
            yield f"{who}, which nobody sent"
        if event.body != f"{expected.topic} {event.number}":
            yield f"{who} with the body {event.body!r}"
        if not reader.wants(event.number):
            yield f"{who}, which it had not asked for"
        if reader.tag and event.tag != reader.tag(event.number):
            yield f"{who} with the tag {event.tag!r}"
        if event.age_ms < reader.age_min_ms(event.number):
            yield f"{who} after {event.age_ms} ms, before its delay was over"
        again[event.attempt, event.times] += 1
        deliveries[event.number].append(event.times)
        ack = sending.acknowledged.get(event.attempt)
        # The client in Go is given no ids of the messages in a batch.
        if ack and ack.message_id and ack.message_id != event.message_id:
            yield f"{who} with id {event.message_id}, acknowledged as {ack.message_id}"
        position = (event.queue, event.offset)
        if event.times == 0:
            if ack and reader.in_place and position != (ack.queue, ack.offset):
                yield f"{who} at {position}, acknowledged at {(ack.queue, ack.offset)}"
            if place.setdefault(event.attempt, position) != position:
                yield f"{who} at {position} and at {place[event.attempt]}: it was stored twice"
        # Each consumer's own start is one disturbance; more than that explains a repetition.
        if again[event.attempt, event.times] > 1:
            if not (reader.repeats and len(disturbed) > 1):
                yield f"{who} again, and nothing explains it"
            elif event.attempt in committed and any(isinstance(one, Mark) for one in disturbed):
                yield f"{who} again, although its offset was committed before the broker ended"
        shard = event.number % SHARDS
        if reader.ordered:
            if event.number < latest[shard]:
                yield f"{who} after {latest[shard]} of the same shard"
            latest[shard] = max(latest[shard], event.number)
    for attempt, ack in sending.acknowledged.items():
        if reader.wants(ack.number) and attempt not in again_attempts(again):
            yield f"{'+'.join(members)} did not get {attempt}, which was acknowledged"
    if reader.deliveries:
        for number in deliveries:
            wanted = list(range(reader.deliveries(number)))
            if deliveries[number] != wanted:
                yield f"number {number} came with {deliveries[number]} failures before, not {wanted}"
    if reader.committed_min:
        yield from forgotten(events, members, committed)
    if len(committed) < reader.committed_min:
        yield f"only {len(committed)} of {reader.committed_min} came early enough to be committed"
    for member, number in reader.joined_at.items():
        if member in members and not any(got.number >= number for got in first_gots(events, members, member)):
            yield f"{member} got nothing that was sent after it had joined, or only after others"
    for member in members:
        if not any(isinstance(event, Got) and event.consumer == member for event in events):
            yield f"{member} got nothing"


def committed_at_the_end(events, members):
    """The attempts whose offsets had to be on the broker's disk when it ended: those that came so
    long before that their consumer had to send its offsets, and the broker to store them."""
    end = next((event.at for event in events if isinstance(event, Mark)), None)
    if end is None:
        return set()
    started = {event.consumer: event.at for event in events if isinstance(event, Started)}
    slack = BROKER_COMMIT_SECONDS + BUSY_SECONDS
    return {
        event.attempt for event in events
        if isinstance(event, Got) and event.consumer in members and event.consumer in started
        and max(event.at + COMMIT_SECONDS, started[event.consumer] + FIRST_COMMIT_SECONDS) + slack <= end
    }


def forgotten(events, members, committed):
    """The complaints about queues of which the broker came back with less than was committed."""
    held = {event.queue: event.offset for event in events if isinstance(event, Held)}
    ends = defaultdict(int)
    for event in events:
        if isinstance(event, Got) and event.consumer in members and event.attempt in committed:
            ends[event.queue] = max(ends[event.queue], event.offset + 1)
    for queue, end in ends.items():
        if held.get(queue, 0) < end:
            yield f"the broker came back with offset {held.get(queue)} in queue {queue}, where {end} was committed"


def first_gots(events, members, member):
    """What a member got before any of the others."""
    seen = set()
    for event in events:
        if isinstance(event, Got) and event.consumer in members:
            if event.consumer == member and event.attempt not in seen:
                yield event
            seen.add(event.attempt)


def again_attempts(again):
    return {attempt for attempt, _ in again}


def after_stop(events, reader):
    stopped = set()
    for event in events:
        if isinstance(event, Stopped):
            stopped.add(event.consumer)
        elif isinstance(event, Got) and event.consumer in stopped and event.consumer in reader.members:
            yield f"{event.consumer} got {event.attempt} after it had stopped"


def spoil(events, expected):
    """Changes of a good record, each with what was done; a judge must complain about every one."""
    gots = [event for event in events if isinstance(event, Got)]
    acked = {event.attempt: event.message_id for event in events if isinstance(event, Ack)}
    victim = next((got for got in reversed(gots) if acked.get(got.attempt)), None)
    if victim is None:
        return
    lost = lambda event: isinstance(event, Got) and event.attempt == victim.attempt
    yield "a message lost", [event for event in events if not lost(event)]
    yield "a body changed", [replace(e, body="x") if e is victim else e for e in events]
    yield "an id changed", [replace(e, message_id="x") if e is victim else e for e in events]
    yield "a message that nobody sent", [*events, replace(victim, attempt="none")]
    if not any(reader.repeats for reader in expected.readers):
        yield "a message twice", [*events, victim]
    for reader in expected.readers:
        committed = committed_at_the_end(events, reader.members)
        early = next((got for got in gots if reader.repeats and got.attempt in committed), None)
        if early:
            yield "a committed message again", [*events, early]
            yield "committed offsets lost", [
                replace(e, offset=0) if isinstance(e, Held) else e for e in events]
        for member, number in reader.joined_at.items():
            other = next(one for one in reader.members if one != member)
            late = lambda e: isinstance(e, Got) and e.consumer == member and e.number >= number
            yield "a member that only got what was there before", [
                replace(e, consumer=other) if late(e) else e for e in events]
    if expected.in_place and victim.times == 0:
        yield "a message elsewhere", [*events, replace(victim, offset=victim.offset + 1)]
    yield "an outcome lost", [e for e in events if not (isinstance(e, Ack) and e.attempt == victim.attempt)]
