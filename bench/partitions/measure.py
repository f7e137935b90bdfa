"""Three processes on this machine with many partitions. Prints each figure beside its bound; ends with 1 if one is missed.

* `idle`: CPU and memory of each process with nothing to do, the time from start to ready, the time until the groups of a killed node are
  led again.
* `log`: one busy table beside many tables that are written once in a while; the size of each process's log.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TORC = os.environ["TORC_BIN"]
MIB = 1 << 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Node:
    def __init__(self, folder: Path, name: str, join: list[str]):
        self.name, self.join, self.data = name, join, folder / name
        self.port, self.cluster = free_port(), f"127.0.0.1:{free_port()}"
        self.log = open(folder / f"{name}.log", "ab")
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        command = [TORC, "start", "--data", str(self.data), "--listen", f"127.0.0.1:{self.port}"]
        command += ["--cluster", self.cluster, "--zone", self.name]
        command += ["--join", ",".join(self.join)] if self.join else []
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def request(self, method: str, path: str, body: bytes | None = None, headers=None, timeout: float = 30.0):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def call(self, operation: str, body: dict) -> dict:
        headers = {"X-Amz-Target": f"DynamoDB_20120810.{operation}", "Content-Type": "application/x-amz-json-1.0"}
        headers["Authorization"] = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0"
        status, answer = self.request("POST", "/", json.dumps(body).encode(), headers)
        if status != 200:
            raise OSError(f"{operation}: {status} {answer[:300]!r}")
        return json.loads(answer)

    def is_ready(self) -> bool:
        try:
            return self.request("GET", "/ready", timeout=2.0)[0] == 200
        except OSError:
            return False

    def status(self) -> dict:
        return json.loads(self.request("GET", "/admin/status")[1])

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_bytes(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def log_bytes(self) -> int:
        files = (self.data / "log").rglob("*") if (self.data / "log").is_dir() else self.data.rglob("*.log")
        return sum(file.stat().st_blocks * 512 for file in files if file.is_file())

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()


def until(what: str, seconds: float, condition) -> float:
    """How long it took, in seconds."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise SystemExit(f"{what}: not within {seconds} s")
        time.sleep(0.02)
    return time.monotonic() - began


def create_tables(nodes: list[Node], names: list[str]) -> None:
    def create(numbered):
        number, name = numbered
        key = {"AttributeName": "k", "AttributeType": "S"}
        nodes[number % len(nodes)].call(
            "CreateTable",
            {
                "TableName": name,
                "AttributeDefinitions": [key],
                "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
                "BillingMode": "PAY_PER_REQUEST",
            },
        )

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for _ in pool.map(create, enumerate(names)):
            pass


def partitions_of(status: dict) -> list[dict]:
    return [partition for table in status["tables"] for partition in table["partitions"]]


class Report:
    def __init__(self):
        self.missed = False

    def line(self, what: str, value: float, bound: float, unit: str) -> None:
        self.missed |= value > bound
        print(f"{what:44} {value:10.2f} {unit:4} (bound {bound:g}){'' if value <= bound else '  MISSED'}", flush=True)


def measure_idle(nodes: list[Node], arguments, report: Report) -> None:
    began = time.monotonic()
    create_tables(nodes, [f"t{i:05}" for i in range(arguments.partitions // 3)])
    all_led = lambda: all(partition["leader"] for partition in partitions_of(nodes[0].status()))
    until("every partition is led", 120, all_led)
    print(f"{len(partitions_of(nodes[0].status()))} partitions were made in {time.monotonic() - began:.0f} s", flush=True)
    time.sleep(10)
    before, began = [node.cpu_seconds() for node in nodes], time.monotonic()
    time.sleep(arguments.seconds)
    elapsed = time.monotonic() - began
    for node, cpu in zip(nodes, before):
        report.line(f"{node.name}: CPU while idle", (node.cpu_seconds() - cpu) / elapsed * 100, 3, "%")
        report.line(f"{node.name}: RSS", node.rss_bytes() / MIB, 400, "MiB")
    victim, witness = nodes[2], nodes[0]
    number = max(node["id"] for node in witness.status()["nodes"])
    victim.kill()
    led = lambda: all(p["leader"] and p["leader"] != number for p in partitions_of(witness.status()))
    report.line("groups of a killed node led again", until("groups are led again", 60, led), 2, "s")
    victim.start()
    report.line("restart to ready", until("the node is ready", 120, victim.is_ready), 10, "s")


def measure_log(nodes: list[Node], arguments, report: Report) -> None:
    slow = [f"slow{i:03}" for i in range(arguments.slow)]
    create_tables(nodes, slow + ["busy"])
    value = {"S": "v" * 8_000}
    end = time.monotonic() + arguments.minutes * 60
    largest = [0] * len(nodes)

    def write_busy(number: int) -> None:
        count = 0
        while time.monotonic() < end:
            key = {"S": f"{number}-{count % 2_000}"}
            nodes[number % len(nodes)].call("PutItem", {"TableName": "busy", "Item": {"k": key, "v": value}})
            count += 1

    def write_slow() -> None:
        count = 0
        while time.monotonic() < end:
            for name in slow:
                nodes[count % len(nodes)].call("PutItem", {"TableName": name, "Item": {"k": {"S": str(count % 50)}}})
                count += 1
                for at, node in enumerate(nodes):
                    largest[at] = max(largest[at], node.log_bytes())
            time.sleep(1)

    with concurrent.futures.ThreadPoolExecutor(9) as pool:
        tasks = [pool.submit(write_busy, number) for number in range(8)] + [pool.submit(write_slow)]
        for task in tasks:
            task.result()
    for node, size in zip(nodes, largest):
        report.line(f"{node.name}: log at its largest", size / MIB, 1024, "MiB")


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench/partitions/run.sh", description=__doc__)
    parser.add_argument("what", choices=["idle", "log"])
    parser.add_argument("--partitions", type=int, default=10_000, help="for `idle`; three for each table")
    parser.add_argument("--seconds", type=float, default=30.0, help="for which the CPU is measured")
    parser.add_argument("--slow", type=int, default=67, help="for `log`: tables, of three partitions each, that are written seldom")
    parser.add_argument("--minutes", type=float, default=10.0, help="for `log`")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="torc-partitions-"))
    nodes: list[Node] = []
    for name in "abc":
        nodes.append(Node(folder, name, [node.cluster for node in nodes]))
    report = Report()
    try:
        for node in nodes:
            node.start()
            until(f"{node.name} is ready", 60, node.is_ready)
        whole = lambda: all(len(node.status()["nodes"]) == 3 for node in nodes)
        until("every node knows every other", 30, whole)
        (measure_idle if arguments.what == "idle" else measure_log)(nodes, arguments, report)
    finally:
        for node in nodes:
            node.kill()
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if report.missed else 0)


if __name__ == "__main__":
    main()
