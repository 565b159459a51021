"""Holds the JSON Schema of pipeline files against `millrace validate`: schema.py PROGRAM FILE...

Whatever the schema refuses, the program refuses as well, for files that are right and for copies of
them with one mistake each. The other way round only some mistakes are known to a schema.
"""

import copy
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import jsonschema
from ruamel.yaml import YAML

yaml = YAML(typ="safe", pure=True)


FILES = ("parquet", "jsonl", "csv")


def sink(pipeline):
    """The first sink that writes files, if there is one."""
    written = (sink for sink in pipeline["sinks"].values() if any(name in sink for name in FILES))
    return next(written, None)


def files(pipeline):
    return next(settings for name, settings in sink(pipeline).items() if name in FILES)


def topic(pipeline):
    named = pipeline["topic"]
    return named if isinstance(named, dict) else {"name": named}


def without_component(pipeline):
    chosen = sink(pipeline)
    for name in FILES:
        chosen.pop(name, None)


#: Those that need a sink that writes files.
OF_FILES = {
    "a duration without unit",
    "an unknown unit",
    "a choice that is none",
    "a sink without component",
}
MISTAKES = {
    "an unknown key": lambda p: p.update(sinkz=1),
    "no version": lambda p: p.pop("version"),
    "another version": lambda p: p.update(version=2),
    "no topic": lambda p: p.pop("topic"),
    "an unknown source": lambda p: p["source"].update(fiel={}),
    "a list for a map": lambda p: p.update(sinks=[]),
    "a duration without unit": lambda p: files(p).update(rotate={"every": 10}),
    "an unknown unit": lambda p: files(p).update(rotate={"size": "1 potato"}),
    "a choice that is none": lambda p: files(p).update(metadata="some"),
    "a sink without component": without_component,
    "a number that is too small": lambda p: p.update(topic={"name": "t", "queues": 0}),
}
FINE = {
    "a note": lambda p: p.update({"x-note": ["anything"]}),
    "a value of the environment": lambda p: p.update(
        topic={**topic(p), "queues": "${env:MILLRACE_NO_SUCH_VARIABLE:-2}"}
    ),
}


def with_text_keys(value):
    """To editors a key is its text; here `null` would be nothing."""
    if isinstance(value, dict):
        return {"null" if k is None else k: with_text_keys(v) for k, v in value.items()}
    return [with_text_keys(item) for item in value] if isinstance(value, list) else value


def accepts(program, pipeline):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        text = io.StringIO()
        yaml.dump(pipeline, text)
        file.write(text.getvalue())
        file.flush()
        ran = subprocess.run([program, "validate", file.name], capture_output=True)
    if ran.returncode not in (0, 2):
        sys.exit(f"schema: validate exits with {ran.returncode}: {ran.stderr.decode()}")
    return ran.returncode == 0


def main():
    program, *paths = sys.argv[1:]
    asked = subprocess.run([program, "docs", "--json-schema"], check=True, capture_output=True)
    schema = json.loads(asked.stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    judged = 0
    for file in paths:
        original = with_text_keys(yaml.load(Path(file)))
        cases = [("as it is", lambda p: None, True)]
        cases += [(name, change, True) for name, change in FINE.items()]
        cases += [(name, change, False) for name, change in MISTAKES.items()]
        for name, change, right in cases:
            if name in OF_FILES and sink(original) is None:
                continue
            pipeline = copy.deepcopy(original)
            change(pipeline)
            verdicts = validator.is_valid(pipeline), accepts(program, pipeline)
            if verdicts != (right, right):
                sys.exit(f"schema: {file}, {name}: the schema and the program say {verdicts}")
            judged += 1
    print(f"acceptance: the JSON Schema and the program agree on {judged} pipeline files")


main()
