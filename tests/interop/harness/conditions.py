"""SQL92 conditions over the wire, held against what Apache RocketMQ's own filter said.

The cases are the lines of `selector-cases.jsonl`. Each has a condition, properties, whether Apache
accepts the condition, and what it makes of these properties.
"""

import json

import remoting

TOPIC = "Selectors"
GROUP = "selectors"
NOT_PARSED = 23
FOUND = 0
NOT_THERE = (19, 20, 21)
HAS_SUBSCRIPTION = 4


class Case:
    def __init__(self, line):
        # Numbers keep the digits that they have in the file, as properties are texts.
        case = json.loads(line, parse_int=str, parse_float=str)
        self.condition = case["expr"]
        self.accepted = case["rocketmq_accepts"]
        self.matches = case.get("rocketmq_result") is True
        self.properties = {name: text(value) for name, value in case["props"].items() if value is not None}

    def travels(self):
        """Whether these properties can be sent: an empty value cannot, nor one that divides them."""
        return all(name and value and not set(name + value) & {"\x01", "\x02"}
                   for name, value in self.properties.items())


def text(value):
    return str(value).lower() if isinstance(value, bool) else value


def check(broker, path):
    """The complaints about what a broker does with each case, and how many cases there were."""
    with open(path, encoding="utf-8") as lines:
        cases = [case for case in map(Case, lines) if case.travels()]
    remoting.create_topic(broker, TOPIC, 1)
    complaints = []
    with remoting.Connection(broker) as connection:
        for case in cases:
            case.offset = send(connection, case)
        for case in cases:
            accepted = accepts(connection, case.condition)
            if accepted != case.accepted:
                complaints.append(f"{case.condition!r} was {'accepted' if accepted else 'refused'}")
            elif accepted and matches(connection, case) != case.matches:
                complaints.append(f"{case.condition!r} on {case.properties}: not {case.matches}")
    return complaints, len(cases)


def send(connection, case):
    properties = "".join(f"{name}\x01{value}\x02" for name, value in case.properties.items())
    header, _ = connection.ask(remoting.SEND_MESSAGE, {
        "producerGroup": GROUP, "topic": TOPIC, "defaultTopic": "TBW102", "defaultTopicQueueNums": 1, "queueId": 0,
        "sysFlag": 0, "bornTimestamp": 1, "flag": 0, "properties": properties, "reconsumeTimes": 0,
        "unitMode": "false", "batch": "false",
    }, b"x")
    return int(header["extFields"]["queueOffset"])


def accepts(connection, condition):
    body = json.dumps({"clientId": GROUP, "group": GROUP, "subscriptionData": {
        "topic": TOPIC, "subString": condition, "expressionType": "SQL92", "classFilterMode": False,
        "codeSet": [], "tagsSet": [], "subVersion": 1}})
    header, _ = connection.call(remoting.CHECK_CLIENT_CONFIG, {}, body.encode())
    if header["code"] not in (FOUND, NOT_PARSED):
        raise remoting.Refused(header["code"], header.get("remark"))
    return header["code"] == FOUND


def matches(connection, case):
    header, _ = connection.call(remoting.PULL_MESSAGE, {
        "consumerGroup": GROUP, "topic": TOPIC, "queueId": 0, "queueOffset": case.offset, "maxMsgNums": 1,
        "sysFlag": HAS_SUBSCRIPTION, "commitOffset": 0, "suspendTimeoutMillis": 0, "subVersion": 1,
        "subscription": case.condition, "expressionType": "SQL92",
    })
    if header["code"] not in (FOUND, *NOT_THERE):
        raise remoting.Refused(header["code"], header.get("remark"))
    # Whoever does not match is passed over, so that what is found may be a later message.
    return header["code"] == FOUND and int(header["extFields"]["nextBeginOffset"]) == case.offset + 1
