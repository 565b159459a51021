"""Compares a finished run with its input: check.py PROGRAM JOB INPUT DATA_DIR LAKE.

The topic is counted by `millrace inspect --json` in a process of its own; the files are read by
pyarrow and by DuckDB.
"""

import collections
import json
import pathlib
import re
import subprocess
import sys
import zlib

import duckdb
import pyarrow.compute as compute
import pyarrow.dataset as dataset


def must_equal(what, found, wanted):
    if found != wanted:
        sys.exit(f"acceptance: {what}: found {found}, wanted {wanted}")


def topic(program, data_dir, name):
    answer = subprocess.run(
        [program, "inspect", data_dir, "--json"], check=True, capture_output=True, text=True
    )
    result = json.loads(answer.stdout)["result"]
    must_equal("damage", result["damage"], [])
    found = result["topics"][name]
    for queue in found["queues"]:
        must_equal("offsets", (queue["min"], queue["end"], queue["lost"]), (0, queue["messages"], 0))
    return tuple(found[key] for key in ("messages", "body_bytes", "body_crc_sum"))


def input_lines(path):
    return pathlib.Path(path).read_bytes().removesuffix(b"\n").split(b"\n")


def sums(lines):
    return len(lines), sum(map(len, lines)), sum(map(zlib.crc32, lines)) % 2**64


def files(lake):
    found = sorted(pathlib.Path(lake).rglob("*"))
    stray = [path for path in found if path.is_file() and path.suffix != ".parquet"]
    must_equal("stray files", stray, [])
    return [str(path) for path in found if path.suffix == ".parquet"]


def access_log(program, path, data_dir, lake):
    lines = input_lines(path)
    must_equal("topic", topic(program, data_dir, "access"), sums(lines))
    log = re.compile(rb'\S+ \S+ \S+ \[(\d+)/(\w+)/(\d+)[^\]]*\] "(?:[^"\\]|\\.)*" (\d{3}) (\d+|-) ')
    wanted = [match.groups() for match in map(log.match, lines) if int(match.group(4)) >= 400]
    by_status = dict(collections.Counter(int(status) for _, _, _, status, _ in wanted))
    by_day = dict(collections.Counter(f"2015-05-{int(day):02}" for day, *_ in wanted))
    size = sum(int(size) for *_, size in wanted if size != b"-")

    table = dataset.dataset(files(lake), format="parquet", partitioning="hive", partition_base_dir=lake).to_table()
    must_equal("rows (pyarrow)", table.num_rows, len(wanted))
    counted = table.column("status").value_counts().to_pylist()
    must_equal("by status (pyarrow)", {c["values"]: c["counts"] for c in counted}, by_status)
    must_equal("bytes (pyarrow)", compute.sum(table.column("bytes")).as_py(), size)

    glob = f"{lake}/**/*.parquet"
    query = f"select {{}} from read_parquet('{glob}', hive_partitioning = true)"
    must_equal("rows (DuckDB)", duckdb.sql(query.format("count(*)")).fetchall(), [(len(wanted),)])
    found = duckdb.sql(query.format("status, count(*)") + " group by status").fetchall()
    must_equal("by status (DuckDB)", dict(found), by_status)
    found = duckdb.sql(query.format("cast(day as varchar), count(*)") + " group by day").fetchall()
    must_equal("by day (DuckDB)", dict(found), by_day)
    must_equal("bytes (DuckDB)", duckdb.sql(query.format("sum(bytes)")).fetchall(), [(size,)])
    print(f"acceptance: access log: {len(lines)} messages, {len(wanted)} rows {by_status}")


def flights(program, path, data_dir, lake):
    lines = input_lines(path)
    must_equal("topic", topic(program, data_dir, "flights"), sums(lines))
    wanted = [flight for flight in map(json.loads, lines) if flight["delay"] > 60]
    by_origin = dict(collections.Counter(flight["origin"] for flight in wanted))
    delay = sum(flight["delay"] for flight in wanted)

    table = dataset.dataset(files(lake), format="parquet", partitioning="hive", partition_base_dir=lake).to_table()
    must_equal("rows (pyarrow)", table.num_rows, len(wanted))
    must_equal("delay (pyarrow)", compute.sum(table.column("delay")).as_py(), delay)
    query = f"from read_parquet('{lake}/**/*.parquet', hive_partitioning = true)"
    found = duckdb.sql(f"select origin, count(*) {query} group by origin").fetchall()
    must_equal("by origin (DuckDB)", dict(found), by_origin)
    must_equal("delay (DuckDB)", duckdb.sql(f"select sum(delay) {query}").fetchall(), [(delay,)])
    print(f"acceptance: flights: {len(lines)} messages, {len(wanted)} rows, {len(by_origin)} origins")


if __name__ == "__main__":
    program, job, *rest = sys.argv[1:]
    {"access-log": access_log, "flights": flights}[job](program, *rest)
