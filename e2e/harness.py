"""Starts, kills and restarts real Torc processes, and asks them what a user could ask.

Nothing here knows how Torc works inside: flags, ports, signals, HTTP. Processes are ended by the handle they were started with.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import boto3
from botocore.config import Config

BINARY = os.environ["TORC_BIN"]
HOME = Path(os.environ["TORC_E2E_HOME"])
RUNS = HOME / "runs"

# Below the ephemeral range, so that an outgoing connection never takes the port of a node that is down.
PORT_RANGE = tuple(int(port) for port in os.environ.get("TORC_E2E_PORTS", "20000-32000").split("-"))
READY_SECONDS = 30.0


_given: set[int] = set()


def free_port() -> int:
    """A port nobody listens on now, and that no other node of this run was given."""
    while True:
        port = random.randint(*PORT_RANGE)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


def basic(access_key: str) -> str:
    """The Authorization header that shows ID:SECRET itself."""
    return "Basic " + base64.b64encode(access_key.encode()).decode()


def eventually(what: str, seconds: float, attempt):
    """Calls `attempt` until it returns something true; its last exception or answer is in the failure."""
    deadline = time.monotonic() + seconds
    last = None
    while True:
        try:
            last = attempt()
            if last:
                return last
        except (OSError, AssertionError, http.client.HTTPException, ValueError) as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s; last: {last!r}")
        time.sleep(0.05)


class Node:
    """One process, its zone, ports and data folder. The same flags at every start."""

    def __init__(self, name: str, zone: str, folder: Path, join: list[str], port=None, cluster_port=None, environment=None, flags=()):
        self.name = name
        self.flags = list(flags)
        self.environment = environment or {}
        self.zone = zone
        self.folder = folder
        self.join = join
        self.port = port or free_port()
        self.cluster_port = cluster_port or free_port()
        self.process: subprocess.Popen | None = None
        self.log_path = folder / f"{name}.log"
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def cluster_address(self) -> str:
        return f"127.0.0.1:{self.cluster_port}"

    def command(self) -> list[str]:
        command = [BINARY, "start", "--data", str(self.folder / self.name), "--listen", self.address]
        command += ["--cluster", self.cluster_address, "--zone", self.zone]
        if self.join:
            command += ["--join", ",".join(self.join)]
        return command + self.flags

    def start(self) -> "Node":
        assert not self.running(), f"{self.name} is running already"
        with open(self.log_path, "ab") as log:
            log.write(f"\n===== start: {' '.join(self.command())}\n".encode())
            log.flush()
            environment = {**os.environ, **self.environment}
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        return self

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """kill -9, and waits until the kernel has closed its sockets."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self, seconds: float = 20.0) -> int:
        """SIGTERM; the exit code. A node that does not leave in time is killed and the test fails."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop within {seconds} s of SIGTERM\n{self.log_tail()}") from None

    def get(self, path: str, timeout: float = 5.0) -> bytes:
        request = urllib.request.Request(self.url + path)
        if keys := self.environment.get("TORC_ACCESS_KEYS"):
            request.add_header("Authorization", basic(keys.split(",")[0]))
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.read()

    def json(self, path: str, timeout: float = 5.0):
        return json.loads(self.get(path, timeout))

    def wait_ready(self, seconds: float = READY_SECONDS) -> "Node":
        def healthy():
            assert self.running(), f"{self.name} exited with {self.process.poll()}\n{self.log_tail()}"
            return self.get("/ready", timeout=1.0) is not None

        try:
            eventually(f"{self.name} is ready", seconds, healthy)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log_tail()}") from None
        return self

    def log_tail(self, lines: int = 30) -> str:
        try:
            return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return "(no log)"

    def dynamodb(self, retries: int = 4, read_timeout: float = 15.0):
        """An unmodified boto3 client of this node."""
        config = Config(
            connect_timeout=2, read_timeout=read_timeout, retries={"max_attempts": retries, "mode": "standard"}
        )
        return boto3.client("dynamodb", endpoint_url=self.url, config=config)


class Cluster:
    """Three nodes in three zones, or one alone."""

    def __init__(self, folder: Path, zones: str = "abc", environment=None):
        self.folder = folder
        self.nodes: list[Node] = []
        for zone in zones:
            join = [node.cluster_address for node in self.nodes]
            self.nodes.append(Node(f"node-{zone}", zone, folder, join, environment=environment))

    def start(self) -> "Cluster":
        for node in self.nodes:
            node.start()
        self.wait_whole()
        return self

    def wait_whole(self, seconds: float = READY_SECONDS) -> None:
        """Every process ready and every node known to be alive by every other."""
        for node in self.nodes:
            node.wait_ready(seconds)

        def whole():
            for node in self.nodes:
                states = {peer["id"]: peer["state"] for peer in node.json("/admin/status")["nodes"]}
                assert len(states) == len(self.nodes), f"{node.name} knows {states}"
                assert all(state == "alive" for state in states.values()), f"{node.name} sees {states}"
            return True

        try:
            eventually("every node sees every other", seconds, whole)
        except AssertionError as error:
            raise AssertionError(f"{error}\n" + "\n".join(node.log_tail(15) for node in self.nodes)) from None

    def close(self) -> None:
        for node in self.nodes:
            node.kill()

    @property
    def urls(self) -> list[str]:
        return [node.url for node in self.nodes]

    def create_table(self, name: str, hash_key: str, range_key: str | None = None) -> None:
        schema = [{"AttributeName": hash_key, "KeyType": "HASH"}]
        if range_key:
            schema.append({"AttributeName": range_key, "KeyType": "RANGE"})
        client = self.nodes[0].dynamodb()
        client.create_table(
            TableName=name,
            KeySchema=schema,
            AttributeDefinitions=[{"AttributeName": key["AttributeName"], "AttributeType": "S"} for key in schema],
            BillingMode="PAY_PER_REQUEST",
        )
        for node in self.nodes:

            def active(client=node.dynamodb(retries=0)):
                try:
                    return client.describe_table(TableName=name)["Table"]["TableStatus"] == "ACTIVE"
                except client.exceptions.ResourceNotFoundException:
                    return False

            eventually(f"{name} is ACTIVE on {node.name}", READY_SECONDS, active)

    def replica_rows(self, digest: bool = True) -> list[dict]:
        """What each node says of the replicas it holds: group, table, node, applied index, digest of all keys and values."""
        rows = {}
        for node in self.nodes:
            for row in node.json(f"/admin/replicas?digest={str(digest).lower()}", timeout=60.0):
                rows[(row["group"], row["node"])] = row
        return list(rows.values())

    def assert_replicas_equal(self, copies: int = 3, seconds: float = 60.0) -> int:
        """Waits until every group has `copies` replicas at one applied index, then compares them. The number of groups.

        Replicas at the same applied index with different bytes fail at once: waiting cannot mend that.
        """

        def settled():
            groups: dict = {}
            for row in self.replica_rows():
                groups.setdefault(row["group"], []).append(row)
            assert groups, "no groups at all"
            for group, rows in groups.items():
                by_applied: dict = {}
                for row in rows:
                    assert row["digest"], f"group {group} is being written"
                    by_applied.setdefault(row["applied"], set()).add(row["digest"])
                for applied, digests in by_applied.items():
                    if len(digests) > 1:
                        raise Diverged(f"group {group} differs at applied index {applied}: {rows}")
            for group, rows in groups.items():
                assert len(rows) == copies, f"group {group} has {len(rows)} replicas: {rows}"
                assert len({row["applied"] for row in rows}) == 1, f"group {group} still catching up: {rows}"
            return len(groups)

        return eventually("all replicas byte for byte equal", seconds, settled)


class Diverged(Exception):
    """Two replicas hold different bytes at the same applied index."""


def fresh_folder(name: str) -> Path:
    """An empty folder for one test's data and logs."""
    folder = RUNS / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
