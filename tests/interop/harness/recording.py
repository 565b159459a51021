"""A proxy that keeps every frame between clients and a name server or broker.

Each peer gets a port of its own with as many digits as the real one, and answers that name the
broker's address name the proxy's instead, so that frames keep their lengths. What is kept is what
the real peer said.
"""

import socket
import struct
import threading

from remoting import read_frame


class Recording:
    """Frames in the order in which they passed: (connection, to the server?, whose, bytes)."""

    def __init__(self):
        self._frames = []
        self._adding = threading.Lock()

    def add(self, connection, to_server, peer, frame):
        with self._adding:
            self._frames.append((connection, to_server, peer, frame))

    def take(self):
        """What has passed so far; forgets it."""
        with self._adding:
            frames, self._frames = self._frames, []
            return frames


class Proxy:
    def __init__(self, peer, address, recording, renames):
        host, port = address.rsplit(":", 1)
        self._peer = peer
        self._target = (host, int(port))
        self._recording = recording
        self._renames = renames
        self._count = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        while len(str(self._listener.getsockname()[1])) != len(port):
            self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self._listener.accept()
            server = socket.create_connection(self._target)
            self._count += 1
            name = f"{self._peer}{self._count}"
            for source, sink, to_server in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._copy, args=(name, source, sink, to_server), daemon=True).start()

    def _copy(self, name, source, sink, to_server):
        stream = source.makefile("rb")
        try:
            while True:
                frame = read_frame(stream)
                self._recording.add(name, to_server, self._peer, frame)
                if not to_server:
                    for real, shown in self._renames:
                        frame = frame.replace(real.encode(), shown.encode())
                sink.sendall(frame)
        except (OSError, ConnectionError, struct.error):
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
