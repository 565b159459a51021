"""RocketMQ's remoting frames with JSON headers: enough for the harness to ask a broker itself."""

import itertools
import json
import socket
import struct

UPDATE_AND_CREATE_TOPIC = 17
PULL_MESSAGE = 11
SEND_MESSAGE = 10
QUERY_CONSUMER_OFFSET = 14
CHECK_CLIENT_CONFIG = 46
ROUTE_OF_TOPIC = 105
SYSTEM_BUSY = 2
QUERY_NOT_FOUND = 22
VERSION = 401


class Refused(Exception):
    """An answer whose code is not 0."""

    def __init__(self, code, remark):
        super().__init__(f"{code}: {remark}")
        self.code = code


def encode(header, body=b""):
    head = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack(">ii", 4 + len(head) + len(body), len(head)) + head + body


def read_exactly(stream, length):
    data = stream.read(length)
    if len(data) != length:
        raise ConnectionError("the peer closed the connection")
    return data


def read_frame(stream):
    """One whole frame, its length included."""
    length = read_exactly(stream, 4)
    return length + read_exactly(stream, struct.unpack(">i", length)[0])


def header_of(frame):
    """The bytes of a frame's header, and whether it is a binary one."""
    length = struct.unpack(">I", frame[4:8])[0]
    return frame[8:8 + (length & 0xFFFFFF)], length >> 24 == 1


def head(frame):
    """Code, flags and opaque of a frame in either encoding."""
    header, binary = header_of(frame)
    if binary:
        number, _, _, opaque, flags = struct.unpack(">HBHII", header[:13])
        return number, flags, opaque
    fields = json.loads(header)
    return fields["code"], fields["flag"], fields["opaque"]


class Connection:
    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), timeout=30)
        self._stream = self._socket.makefile("rb")
        self._opaque = itertools.count(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stream.close()
        self._socket.close()

    def ask(self, code, fields, body=b""):
        """The answer's header and body; raises Refused unless its code is 0."""
        header, data = self.call(code, fields, body)
        if header["code"] != 0:
            raise Refused(header["code"], header.get("remark"))
        return header, data

    def call(self, code, fields, body=b""):
        """The answer's header and body."""
        frame = self.exchange(code, fields, body)
        header, _ = header_of(frame)
        return json.loads(header), frame[8 + len(header):]

    def exchange(self, code, fields, body=b""):
        """The frame that answers."""
        opaque = next(self._opaque)
        self._socket.sendall(encode({
            "code": code, "flag": 0, "language": "OTHER", "opaque": opaque, "version": VERSION,
            "serializeTypeCurrentRPC": "JSON", "extFields": {key: str(value) for key, value in fields.items()},
        }, body))
        frame = read_frame(self._stream)
        if head(frame)[2] != opaque:
            raise ConnectionError(f"an answer to {head(frame)[2]}, not to {opaque}")
        return frame


def create_topic(broker, topic, queues):
    with Connection(broker) as connection:
        connection.ask(UPDATE_AND_CREATE_TOPIC, {
            "topic": topic, "defaultTopic": "TBW102", "readQueueNums": queues, "writeQueueNums": queues,
            "perm": 6, "topicFilterType": "SINGLE_TAG", "topicSysFlag": 0, "order": "false",
        })


def committed(broker, group, topic, queues):
    """The offsets that a broker has of a group, by queue; 0 where it has none."""
    with Connection(broker) as connection:
        for queue in range(queues):
            header, _ = connection.call(
                QUERY_CONSUMER_OFFSET, {"consumerGroup": group, "topic": topic, "queueId": queue})
            if header["code"] not in (0, QUERY_NOT_FOUND):
                raise Refused(header["code"], header.get("remark"))
            yield queue, int(header["extFields"]["offset"]) if header["code"] == 0 else 0


def has_route(namesrv, topic):
    with Connection(namesrv) as connection:
        return head(connection.exchange(ROUTE_OF_TOPIC, {"topic": topic}))[0] == 0
