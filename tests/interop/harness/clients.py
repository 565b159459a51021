"""The clients under test, at named versions: how each driver is built, started and spoken to."""

import hashlib
import os
import shutil
import subprocess
import threading
from dataclasses import dataclass

from record import Error, Mark, parse

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@dataclass(frozen=True)
class Client:
    name: str
    #: Maven artifacts, or none for a program in Go.
    artifacts: tuple = ()
    #: Folders with Java sources, beside `driver`.
    sources: tuple = ()
    main: str = ""
    options: tuple = ()
    #: An artifact that names the versions of others.
    versions: str = ""

    @property
    def tools(self):
        return ("java", "javac", "mvn") if self.artifacts else ("go",)


ROCKETMQ = "org.apache.rocketmq"
SPRING = "org.springframework.boot"


def plain(version, name, *options):
    return Client(name, (f"{ROCKETMQ}:rocketmq-client:{version}",), ("plain", "find", "reply", f"v{version[0]}"), "millrace.Plain", options)


def spring(starter, boot):
    """A starter with the versions of everything else that this Spring Boot is made of."""
    return Client(
        f"spring-{starter}",
        (f"{ROCKETMQ}:rocketmq-spring-boot-starter:{starter}", f"{SPRING}:spring-boot-starter:{boot}"),
        ("spring",), "millrace.Spring", versions=f"{SPRING}:spring-boot-dependencies:{boot}")


CLIENTS = [
    plain("4.9.8", "java-4.9.8"),
    plain("5.4.0", "java-5.4.0"),
    plain("5.4.0", "java-5.4.0-binary", "-Drocketmq.serialize.type=ROCKETMQ"),
    spring("2.3.4", "2.7.18"),
    spring("2.3.5", "3.3.5"),
    Client("go-2.1.2"),
]
BROKER_ARTIFACTS = tuple(f"{ROCKETMQ}:rocketmq-{part}:5.4.0" for part in ("namesrv", "broker"))


class Workshop:
    """Fetches jars and builds drivers; what it made before is used again."""

    def __init__(self, cache):
        self.cache = cache

    def _made(self, name, key, make):
        """The folder that `make(folder)` filled, now or once before with the same key."""
        folder = os.path.join(self.cache, name + "-" + hashlib.sha256(key).hexdigest()[:12])
        if not os.path.isdir(folder):
            fresh = f"{folder}.{os.getpid()}"
            os.makedirs(fresh)
            make(fresh)
            try:
                os.rename(fresh, folder)
            except OSError:
                shutil.rmtree(fresh)
        return folder

    def jars(self, name, artifacts, versions=""):
        text = POM.format(
            versions=dependency(versions, "<type>pom</type><scope>import</scope>") if versions else "",
            artifacts="".join(map(dependency, artifacts)))

        def make(folder):
            pom = os.path.join(folder, "pom.xml")
            with open(pom, "w") as out:
                out.write(text)
            run("mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", f"-DoutputDirectory={folder}")
        return self._made(f"{name}-jars", text.encode(), make)

    def command(self, client):
        """The words that start a driver, but for the name server's address."""
        if not client.artifacts:
            return self._go(client)
        jars = self.jars(client.name.removesuffix("-binary"), client.artifacts, client.versions)
        folders = [os.path.join(HERE, "java", folder) for folder in ("driver", *client.sources)]
        sources = sorted(os.path.join(folder, file) for folder in folders for file in os.listdir(folder))
        key = b"".join(open(source, "rb").read() for source in sources) + jars.encode()
        classes = self._made(f"{client.name}-classes", key, lambda folder: run(
            "javac", "-nowarn", "-d", folder, "-cp", os.path.join(jars, "*"), *sources))
        return ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                "-Drocketmq.client.rebalance.waitInterval=1000", *client.options,
                "-cp", classes + ":" + os.path.join(jars, "*"), client.main]

    def _go(self, client):
        folder = os.path.join(HERE, "go")
        key = b"".join(open(os.path.join(folder, file), "rb").read() for file in sorted(os.listdir(folder)))
        made = self._made(client.name, key, lambda out: run(
            "go", "build", "-o", os.path.join(out, "driver"), ".", cwd=folder))
        return [os.path.join(made, "driver")]


def run(*command, cwd=None):
    done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"interop: {' '.join(command[:3])} … failed:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")


class Driver:
    """A running driver. What it reports goes to the record of the scenario that the id begins with."""

    def __init__(self, client, command, namesrv, work):
        self.client = client
        self.name = client.name
        self._records = {}
        self._writing = threading.Lock()
        self.ready = threading.Event()
        self.log = os.path.join(work, f"{client.name}.log")
        home = os.path.join(work, client.name)
        os.makedirs(home, exist_ok=True)
        if command[0] == "java":
            command = ["java", f"-Duser.home={home}", f"-Drocketmq.client.logRoot={home}",
                       f"-Drocketmq.client.localOffsetStoreDir={home}", *command[1:]]
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                [*command, namesrv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                env={**os.environ, "HOME": home})
        threading.Thread(target=self._read, daemon=True).start()

    def adopt(self, scenario, record):
        self._records[scenario] = record

    def tell(self, word, **fields):
        line = "\t".join([word, *(f"{name}={value}" for name, value in fields.items())])
        with self._writing:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def _read(self):
        for line in self._process.stdout:
            line = line.rstrip("\n")
            if line == "ready":
                self.ready.set()
                continue
            try:
                event = parse(line)
                scenario = line.split("\t")[1].split(".")[0]
                self._records[scenario].add(event)
            except (ValueError, KeyError):
                self._tell_all(Error(self.name, f"said {line!r}"))
        self._tell_all(Error(self.name, "the driver has ended"))

    def _tell_all(self, event):
        for record in list(self._records.values()):
            record.add(event)

    def mark(self, what):
        self._tell_all(Mark(what))

    def end(self):
        self._records.clear()
        self._process.kill()
        self._process.wait()


def dependency(artifact, more=""):
    group, name, version = artifact.split(":")
    return (f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId>"
            f"<version>{version}</version>{more}</dependency>")


POM = """<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>millrace</groupId>
  <artifactId>interop</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencyManagement><dependencies>{versions}</dependencies></dependencyManagement>
  <dependencies>{artifacts}</dependencies>
</project>
"""
