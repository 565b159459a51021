"""What every client has to do.

A scenario is a function of a `Play`, called after it. It tells the driver what to do and gives
back what to expect.
"""

import time

from brokers import DELAY_MS
from judge import Expectation, Reader, committed_at_the_end, first_gots, judge
from record import Ack, Again, Error, Got, Held, Mark, Sent, Started, Stopped
from remoting import SYSTEM_BUSY, Refused, committed

#: The longest that one step of a scenario may take.
PATIENCE_SECONDS = 120
#: What comes twice comes within this time after everything has come once.
SETTLE_SECONDS = 1.5
#: So many messages are consumed and their offsets committed before a broker ends.
COMMITTED_MIN = 40


class Impatient(Exception):
    pass


class Play:
    """One scenario with one client: names of its own, its record, and its driver."""

    def __init__(self, name, driver, record, create_topic, attach=None, disturbance=None):
        self.name = name
        self.driver = driver
        self.record = record
        self.topic = f"{name}-{driver.name}".replace(".", "_")
        self.disturbance = disturbance
        self.sent = 0
        self._create_topic = create_topic
        self._attach = attach
        self._commands = 0
        self._consumers = []
        driver.adopt(name, record)

    def create_topic(self, queues=4):
        def created():
            try:
                self._create_topic(self.topic, queues)
                return True
            except Refused as error:
                if error.code != SYSTEM_BUSY:
                    raise
                self.record.add(Again(self.driver.name, str(error)))
                return False
        self.wait(created, "the topic")

    def produce(self, kind, count, tags="t", level=0, pace_ms=0):
        """Sends the next numbers, beside what is being sent."""
        self._commands += 1
        self.driver.tell(
            "produce", id=f"{self.name}.p{self._commands}", group=f"producers-{self.topic}", topic=self.topic,
            kind=kind, **{"from": self.sent}, count=count, tags=tags, level=level, pace=pace_ms)
        self.sent += count

    def consume(self, who, group="readers", topic=None, mode="clustering", listen="concurrently",
                tags="", sql="", failing="no"):
        """Starts a consumer, and gives back what the record calls it."""
        who = f"{self.name}.{who}"
        self.driver.tell(
            "consume", id=who, group=self.group(group), topic=topic or self.topic, mode=mode, listen=listen,
            tags=tags, sql=sql, failing=failing)
        self._consumers.append(who)
        self.wait_for(Started, who)
        return who

    def group(self, name):
        return f"{name}-{self.topic}"

    def attach(self, group, module, params):
        """Attaches a filter to a group of consumers, who know nothing of it."""
        self._attach(self.group(group), module, params)

    def ask_committed(self, broker, group="readers", queues=4):
        """Records which offsets of a group a broker has."""
        for queue, offset in committed(broker, self.group(group), self.topic, queues):
            self.record.add(Held(self.group(group), queue, offset))

    def stop(self, who):
        self._consumers.remove(who)
        self.driver.tell("stop", id=who)
        self.wait_for(Stopped, who)

    def has(self, kind, who):
        return any(isinstance(event, kind) and event.consumer == who for event in self.record.events())

    def wait_for(self, kind, who):
        self.wait(lambda: self.has(kind, who), f"{who}: {kind.__name__}")

    def wait(self, holds, what):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            if time.monotonic() > deadline:
                raise Impatient(f"waited {PATIENCE_SECONDS} s for: {what}")
            if any(isinstance(event, Error) for event in self.record.events()):
                raise Impatient(f"gave up waiting for: {what}")
            time.sleep(0.1)

    def wait_sent(self):
        def all_sent():
            return sum(isinstance(event, Sent) for event in self.record.events()) == self._commands
        self.wait(all_sent, "the producers")

    def send_until(self, holds, what, kinds=("sync",)):
        """Sends a little of each kind, again and again."""
        def once_more():
            if holds():
                return True
            for kind in kinds:
                self.produce(kind, 20, pace_ms=10)
            self.wait_sent()
            return False
        self.wait(once_more, what)

    def finish(self, expected, patience_seconds=PATIENCE_SECONDS):
        """Waits until everything has arrived, and a little longer for what should not."""
        self.wait_sent()
        deadline = time.monotonic() + patience_seconds
        while not judge(self.record.events(), expected) and time.monotonic() < deadline:
            time.sleep(0.3)
        time.sleep(SETTLE_SECONDS)
        for who in list(self._consumers):
            self.stop(who)
        return expected


def sends(play):
    """Every way to send, to a topic that the first message creates.

    A busy broker may refuse an asynchronous send, and a one-way send says nothing.
    """
    for kind, count in (("sync", 50), ("async", 100), ("oneway", 30), ("batch", 60)):
        play.produce(kind, count)
    play.wait_sent()
    reader = play.consume("reader")
    return play.finish(Expectation(
        play.topic, play.sent, [Reader([reader])], acknowledged_min=160, arrived_min=175))


def ordered(play):
    """A queue chosen by key, and an orderly listener."""
    play.create_topic()
    play.produce("ordered", 80)
    reader = play.consume("reader", listen="orderly")
    return play.finish(Expectation(play.topic, 80, [Reader([reader], ordered=True)], acknowledged_min=80))


def broadcasting(play):
    """Each of two consumers gets everything."""
    play.create_topic()
    both = [play.consume(who, mode="broadcasting") for who in ("one", "two")]
    play.produce("sync", 40)
    return play.finish(Expectation(play.topic, 40, [Reader(both, broadcasting=True)], acknowledged_min=40))


def tags(play):
    """Two of three tags."""
    play.create_topic()
    colours = ("red", "green", "blue")
    play.produce("sync", 60, tags=",".join(colours))
    reader = play.consume("reader", tags="red || blue")
    wanted = Reader([reader], wants=lambda n: n % 3 != 1, tag=lambda n: colours[n % 3])
    return play.finish(Expectation(play.topic, 60, [wanted], acknowledged_min=60))


def sql(play):
    """A condition on properties and tags."""
    play.create_topic()
    play.produce("sync", 60, tags="red,green,blue")
    condition = "(n BETWEEN 10 AND 40 OR n > 55) AND TAGS IN ('red', 'blue') AND absent IS NULL"
    reader = play.consume("reader", sql=condition)
    wants = lambda n: (10 <= n <= 40 or n > 55) and n % 3 != 1
    return play.finish(Expectation(play.topic, 60, [Reader([reader], wants)], acknowledged_min=60))


def attached(play):
    """A filter in the broker, in WebAssembly, beside the tags that a client asks for."""
    play.create_topic()
    # The body is the topic and the number: those with one digit only are too short.
    play.attach("readers", "keep-large/keep-large-c.wasm", {"bytes": len(play.topic) + 3})
    colours = ("red", "green", "blue")
    play.produce("sync", 60, tags=",".join(colours))
    reader = play.consume("reader", tags="red || blue")
    other = play.consume("other", group="others")
    narrowed = Reader([reader], wants=lambda n: n >= 10 and n % 3 != 1, tag=lambda n: colours[n % 3])
    return play.finish(Expectation(play.topic, 60, [narrowed, Reader([other])], acknowledged_min=60))


def retry(play):
    """Failures come again, twice; what fails the third time becomes a dead letter."""
    play.create_topic()
    play.produce("sync", 40)
    reader = play.consume("reader", failing="tens")
    deliveries = lambda n: 3 if n % 10 == 0 else 2 if n % 10 == 5 else 1
    tried = Reader([reader], deliveries=deliveries)
    expected = Expectation(play.topic, 40, [tried], acknowledged_min=40)
    play.wait(lambda: judge(play.record.events(), expected), "the retries")
    dead = play.consume("dead", group="morgue", topic="%DLQ%" + play.group("readers"))
    letters = Reader([dead], wants=lambda n: n % 10 == 0, in_place=False)
    return play.finish(Expectation(play.topic, 40, [tried, letters], acknowledged_min=40))


def delay(play):
    """Two delay levels; nothing comes early."""
    play.create_topic()
    reader = play.consume("reader")
    for level in DELAY_MS:
        play.produce("sync", 15, level=level)
    late = Reader([reader], in_place=False, age_min_ms=lambda n: DELAY_MS[1] if n < 15 else DELAY_MS[2])
    return play.finish(Expectation(play.topic, 30, [late], acknowledged_min=30))


def transactions(play):
    """Of each four halves one is committed and one rolled back at once, and one of each when the broker asks."""
    play.create_topic()
    reader = play.consume("reader")
    play.produce("transaction", 40)
    # A half is acknowledged at its place among halves.
    committed = Reader([reader], wants=lambda n: n % 4 in (0, 2), in_place=False)
    return play.finish(Expectation(play.topic, 40, [committed], acknowledged_min=40))


def rebalance(play):
    """Consumers join and leave while messages come; each gets some that were sent since."""
    play.create_topic(queues=6)
    members, joined_at = [], {}

    def join(who):
        member = play.consume(who)
        members.append(member)
        joined_at[member] = play.sent
        news = lambda: any(got.number >= joined_at[member]
                           for got in first_gots(play.record.events(), members, member))
        play.send_until(news, f"a new message for the {who}")
        return member
    one = join("one")
    join("two")
    play.stop(one)
    join("three")
    return play.finish(Expectation(
        play.topic, play.sent, [Reader(members, repeats=True, joined_at=joined_at)], acknowledged_min=play.sent))


def disturbed(play):
    """The broker goes and comes back in the middle."""
    play.create_topic()
    reader = play.consume("reader")
    kinds = ("sync", "async", "batch")
    enough = lambda: sum(isinstance(event, Ack) for event in play.record.events()) >= 100
    play.send_until(enough, "the first acknowledgements", kinds)
    # What is committed by then must not come again, so there has to be some.
    early = lambda: len(committed_at_the_end([*play.record.events(), Mark("now", time.monotonic())], [reader]))
    play.wait(lambda: early() >= COMMITTED_MIN, "offsets that have to be committed")
    play.disturbance.may_begin(play.driver, play.ask_committed)
    over = lambda: any(isinstance(event, Mark) for event in play.record.events())
    play.send_until(over, "the broker's end", kinds)
    for kind in kinds:
        play.produce(kind, 100, pace_ms=10)
    repeated = play.sent * 2 // 3
    return play.finish(Expectation(
        play.topic, play.sent, [Reader([reader], repeats=True, committed_min=COMMITTED_MIN)],
        acknowledged_min=repeated,
        marks=(play.disturbance.what,)))


def restarted(play):
    """SIGTERM, and the next start."""
    return disturbed(play)


def killed(play):
    """SIGKILL in sync-flush mode, and the next start."""
    return disturbed(play)


def lost(play):
    """SIGKILL, and everything forgotten; only there to see that the judge notices."""
    play.create_topic()
    play.produce("sync", 40)
    play.wait_sent()
    play.disturbance.may_begin(play.driver)
    play.wait(lambda: any(isinstance(event, Mark) for event in play.record.events()), "the broker's end")
    play.disturbance.wait_over()
    play.create_topic()
    play.produce("sync", 40)
    reader = play.consume("reader")
    return play.finish(Expectation(
        play.topic, 80, [Reader([reader])], acknowledged_min=80, marks=(play.disturbance.what,)), 10)


#: Those that take longest come first.
STEADY = (retry, rebalance, transactions, delay, sends, ordered, broadcasting, tags, sql, attached)
