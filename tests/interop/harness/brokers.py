"""The brokers under test: Millrace, and Apache RocketMQ, which shows that the drivers are right.

Both are started with the same broker.conf.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import time

import remoting

#: Levels 1 and 2 are RocketMQ's own; retries begin at level 3 and take a second each here.
DELAY_LEVELS = "1s 5s " + " ".join(["1s"] * 16)
DELAY_MS = {1: 1000, 2: 5000}
#: How long after it was sent a producer is asked what becomes of half a message, and again. Apache RocketMQ notes
#: decisions up to 3 s late, and delivers twice what it asks about before.
CHECK_MS = 5000
START_SECONDS = 60
EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../wasm-filters/examples")


class DidNotStart(Exception):
    pass


def free_ports():
    """A port for a name server and one for a broker; Apache's broker takes its neighbours, too."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        # Below the range that outgoing connections use, so that a restart finds them free.
        port = 12000 + port % 18000
        if all(free(port + n) for n in (-2, 0, 1, 4)):
            return port + 4, port


def free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def answers(address):
    """Whether clients can be let loose: the name server knows a broker that new topics go to."""
    try:
        return remoting.has_route(address, "TBW102")
    except OSError:
        return False


def wait_until(holds, what, process, log):
    deadline = time.monotonic() + START_SECONDS
    while not holds():
        if process.poll() is not None or time.monotonic() > deadline:
            raise DidNotStart(f"{what} did not start:\n{tail(log)}")
        time.sleep(0.05)


def tail(path, lines=20):
    try:
        with open(path, errors="replace") as text:
            return "".join(text.readlines()[-lines:])
    except OSError:
        return ""


class Broker:
    """A name server and a broker on loopback, in sync-flush mode, with a directory of their own."""

    def __init__(self, work):
        self.dir = os.path.join(work, "store")
        self.work = work
        namesrv, broker = free_ports()
        self.namesrv = f"127.0.0.1:{namesrv}"
        self.address = f"127.0.0.1:{broker}"
        self.conf = os.path.join(work, "broker.conf")
        with open(self.conf, "w") as conf:
            conf.write(
                "brokerClusterName=DefaultCluster\nbrokerName=broker-a\nbrokerId=0\n"
                f"brokerIP1=127.0.0.1\nlistenPort={broker}\nnamesrvAddr={self.namesrv}\n"
                f"storePathRootDir={self.dir}\nstorePathCommitLog={self.dir}/commitlog\n"
                "flushDiskType=SYNC_FLUSH\nenablePropertyFilter=true\nautoCreateTopicEnable=true\n"
                f"transactionTimeOut={CHECK_MS}\ntransactionCheckInterval={CHECK_MS}\n"
                f"diskMaxUsedSpaceRatio=95\nmessageDelayLevel={DELAY_LEVELS}\n" + self.more_conf)

    more_conf = ""
    #: Scenarios that it cannot play yet, by name.
    without = ()
    #: Attaches a filter in WebAssembly to a group: the group, the module, its parameters.
    attach = None

    def kill(self):
        """The end that no program is asked about."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()

    def forget(self):
        """Loses everything, which no broker may; the judge has to notice."""
        shutil.rmtree(self.dir)

    def end(self):
        if self.process.poll() is None:
            self.kill()

    def _spawn(self, name, arguments, **options):
        log = os.path.join(self.work, f"{name}.log")
        with open(log, "ab") as out:
            return subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=out, **options), log


class Millrace(Broker):
    name = "Millrace"

    def __init__(self, work, program):
        super().__init__(work)
        self.program = program

    def start(self):
        self.process, log = self._spawn("millrace", [
            self.program, "server", "-c", self.conf, "--namesrv-listen", self.namesrv,
            "--segment-size", "64MiB"])
        wait_until(lambda: answers(self.namesrv), "Millrace", self.process, log)

    def attach(self, group, module, params):
        subprocess.run([
            self.program, "filter", "attach", "--namesrv", self.namesrv, "--group", group,
            "--module", os.path.join(EXAMPLES, module), "--params", json.dumps(params)],
            check=True, stdout=subprocess.DEVNULL)


class Apache(Broker):
    name = "Apache RocketMQ 5.4.0"
    without = ("attached",)
    more_conf = "mappedFileSizeCommitLog=67108864\nwaitTimeMillsInSendQueue=5000\n"
    OPTIONS = ["--add-opens=java.base/java.nio=ALL-UNNAMED", "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
               "--add-opens=java.base/java.lang=ALL-UNNAMED", "--add-opens=java.base/java.util=ALL-UNNAMED",
               "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED"]

    def __init__(self, work, jars, options=()):
        super().__init__(work)
        self.jars = jars
        self.options = [*self.OPTIONS, *options]
        with open(os.path.join(work, "namesrv.conf"), "w") as conf:
            conf.write(f"listenPort={self.namesrv.rsplit(':', 1)[1]}\n")
        self.names, log = self._java("namesrv", "256m", "org.apache.rocketmq.namesrv.NamesrvStartup", "namesrv.conf")
        wait_until(lambda: not free(int(self.namesrv.rsplit(":", 1)[1])), "the name server", self.names, log)

    def _java(self, name, heap, main, conf):
        return self._spawn(name, [
            "java", f"-Xmx{heap}", f"-Duser.home={self.work}", f"-Drocketmq.home.dir={self.work}", *self.options,
            "-cp", os.path.join(self.jars, "*"), main, "-c", os.path.join(self.work, conf)],
            env={**os.environ, "ROCKETMQ_HOME": self.work})

    def start(self):
        self.process, log = self._java("apache", "1g", "org.apache.rocketmq.broker.BrokerStartup", "broker.conf")
        port = int(self.address.rsplit(":", 1)[1])
        wait_until(lambda: not free(port) and answers(self.namesrv), self.name, self.process, log)

    def end(self):
        super().end()
        self.names.kill()
        self.names.wait()
