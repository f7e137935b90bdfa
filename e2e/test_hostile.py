"""Clients that mean harm, one kind at a time: a clear error or a closed connection, memory flat, and the others do not notice.

A process of its own reads and writes all the while through connections of its own; its latencies, and the server's memory, are printed
for each kind of attack. The bounds are far above what a quiet machine shows, since machines that run tests are not quiet.
"""

import gzip
import http.client
import json
import os
import resource
import socket
import subprocess
import threading
import time
import zlib
from pathlib import Path

import pytest

import harness
import traffic

MIB = 1 << 20
# Two thousand connections take as many file handles here.
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
# Latencies of the others that an attack may bring about, seconds.
P99_SECONDS = 0.5
MAX_SECONDS = 5.0
# How long an attack goes on at least, where it is not a matter of waiting.
ATTACK_SECONDS = 1.0
# Memory beyond what the node held before, bytes: bodies, what they are parsed into, and what the allocator keeps of both.
GROWTH_BYTES = 400 * MIB
# A server that lets a silent client stay longer than this lets it stay for ever.
PATIENCE_SECONDS = 45.0

TARGET = "X-Amz-Target: DynamoDB_20120810.{}\r\nContent-Type: application/x-amz-json-1.0\r\n"


def _watch(url, orders):
    """PutItem and GetItem in turn. Answers each order with the latencies and failures since the last one; ends with None."""
    table = traffic.RawTable(url, timeout=5.0)
    latencies, failures = [], []
    turn = 0
    while True:
        if orders.poll(0.002):
            if orders.recv() is None:
                return
            orders.send((latencies, failures))
            latencies, failures = [], []
        turn += 1
        key = {"Key": {"S": f"watch-{turn // 2 % 50}"}}
        began = time.monotonic()
        try:
            if turn % 2 == 0:
                status, answer = table.call("PutItem", {"TableName": "Things", "Item": {**key, "V": {"S": "x" * 900}}})
            else:
                status, answer = table.call("GetItem", {"TableName": "Things", "Key": key, "ConsistentRead": True})
            if status != 200:
                failures.append((status, answer))
        except (OSError, http.client.HTTPException, ValueError) as error:
            failures.append(repr(error))
        latencies.append(time.monotonic() - began)


class Watch:
    """The others, and the server's memory, while the attack in its `with` runs."""

    def __init__(self, node, name: str, growth=GROWTH_BYTES):
        self.node, self.name, self.growth = node, name, growth

    def __enter__(self):
        self.before = memory(self.node)["VmRSS"]
        # The kernel forgets the highest resident size so far.
        Path(f"/proc/{self.node.process.pid}/clear_refs").write_text("5")
        self.others()
        self.began = time.monotonic()
        return self

    def others(self):
        self.node.others.send("report")
        assert self.node.others.poll(30), "the others stand still"
        return self.node.others.recv()

    def goes_on(self) -> bool:
        """Attack again? For long enough that a percentile means something."""
        return time.monotonic() - self.began < ATTACK_SECONDS

    def __exit__(self, kind, *_):
        latencies, failures = self.others()
        if kind is not None:
            return
        assert self.node.running(), f"{self.name} ended the process\n{self.node.log_tail()}"
        now = memory(self.node)
        latencies.sort()
        p99, worst = latencies[len(latencies) * 99 // 100], latencies[-1]
        print(
            f"\n{self.name:24} others: {len(latencies):5} requests, p50 {latencies[len(latencies) // 2] * 1e3:6.1f} ms, p99 {p99 * 1e3:6.1f} ms, "
            f"max {worst * 1e3:6.1f} ms | memory {self.before / MIB:.0f} MiB, at most {now['VmHWM'] / MIB:.0f}, after {now['VmRSS'] / MIB:.0f}"
        )
        assert not failures, f"{self.name}: {len(failures)} of {len(latencies)} requests of others failed: {failures[0]}"
        assert p99 < P99_SECONDS and worst < MAX_SECONDS, f"{self.name}: others waited: p99 {p99:.3f} s, at most {worst:.3f} s"
        assert now["VmHWM"] - self.before < self.growth, f"{self.name}: memory grew from {self.before} to {now['VmHWM']}"
        assert "panicked" not in self.node.log_path.read_text(errors="replace")


def memory(node) -> dict:
    """VmRSS and VmHWM, bytes."""
    lines = Path(f"/proc/{node.process.pid}/status").read_text().splitlines()
    pairs = (line.split(":") for line in lines if line.startswith(("VmRSS", "VmHWM")))
    return {name: int(value.split()[0]) * 1024 for name, value in pairs}


@pytest.fixture(scope="module")
def node():
    cluster = harness.Cluster(harness.fresh_folder("hostile"), zones="a")
    try:
        cluster.start().create_table("Things", "Key")
        node = cluster.nodes[0]
        node.others, theirs = traffic.SPAWN.Pipe()
        process = traffic.SPAWN.Process(target=_watch, args=(node.url, theirs), daemon=True)
        process.start()
        yield node
        node.others.send(None)
        process.join(10)
    finally:
        cluster.close()


def connect(node, timeout=20.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", node.port), timeout=timeout)


def read_all(connection) -> bytes:
    """Everything until the other side closes; a reset ends it too."""
    said = b""
    try:
        while piece := connection.recv(65536):
            said += piece
    except ConnectionResetError:
        pass
    return said


def request(operation: str, body: bytes, *headers: str) -> bytes:
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"POST / HTTP/1.1\r\nHost: x\r\n{TARGET.format(operation)}{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


def post(node, operation: str, body: bytes, **headers) -> tuple[int, str]:
    connection = http.client.HTTPConnection(node.address, timeout=60)
    try:
        connection.request("POST", "/", body, {"X-Amz-Target": f"DynamoDB_20120810.{operation}", **headers})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except (BrokenPipeError, ConnectionResetError):
        # Cut off before the whole body was read.
        return 413, ""
    finally:
        connection.close()


def put(**more) -> bytes:
    return json.dumps({"TableName": "Things", "Item": {"Key": {"S": "k"}}, **more}).encode()


def nested(depth: int, opening=b'{"L":[', inner=b'{"S":"x"}', closing=b"]}") -> bytes:
    return b'{"TableName":"Things","Item":{"Key":{"S":"k"},"V":' + opening * depth + inner + closing * depth + b"}}"


def wide(size: int) -> bytes:
    """A body of many small values."""
    return b'{"TableName":"Things","Item":{"Key":{"S":"k"},"V":{"L":[' + b'{"N":"1"},' * (size // 10) + b'{"NULL":true}]}}}'


EXPRESSIONS = {
    "1 MB of (": "(" * MIB,
    "1 MB of (a": "(a" * (MIB // 2),
    "400 KB of AND": " AND ".join(["a = :v"] * 36_000),
    "4 KB of (": "(" * 4096,
    "4 KB of NOT": "NOT " * 1000 + "a = :v",
    "1 MB of names": ", ".join(f"#n{n}" for n in range(100_000)),
    "400 KB path": "a" + "[0]" * 130_000,
    "4 KB path": "a" + ".b" * 2000,
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expressions(node, name):
    text = EXPRESSIONS[name]
    values = {"ExpressionAttributeValues": {":v": {"N": "1"}}}
    key = {"TableName": "Things", "Key": {"Key": {"S": "k"}}}
    requests = [
        ("PutItem", put(ConditionExpression=text, **values)),
        ("Scan", json.dumps({"TableName": "Things", "FilterExpression": text, **values}).encode()),
        ("Query", json.dumps({"TableName": "Things", "KeyConditionExpression": text, **values}).encode()),
        ("GetItem", json.dumps({**key, "ProjectionExpression": text}).encode()),
        ("UpdateItem", json.dumps({**key, "UpdateExpression": f"SET a = {text}", **values}).encode()),
        ("UpdateItem", json.dumps({**key, "UpdateExpression": f"REMOVE {text}"}).encode()),
    ]
    with Watch(node, name) as watch:
        while watch.goes_on():
            for operation, body in requests:
                status, said = post(node, operation, body)
                assert status == 400 and "ValidationException" in said, (operation, status, said[:200])


BODIES = {
    "10 000 levels": nested(10_000),
    "1 million levels": nested(1_000_000),
    "1 million [": b"[" * 1_000_000,
    '1 million {"":': b'{"":' * 1_000_000,
    "invalid UTF-8": b'{"TableName":"Things","Item":{"Key":{"S":"\xff\xfe\xc0\xaf"}}}',
    "half a surrogate": b'{"TableName":"Things","Item":{"Key":{"S":"\\ud800"}}}',
    "zero bytes": bytes(100_000),
    "20 MB of small values": wide(20 * MIB),
    "20 MB of digits": b'{"TableName":"Things","Item":{"Key":{"S":"k"},"V":{"N":"' + b"9" * (20 * MIB) + b'"}}}',
    "20 MB of escapes": b'{"TableName":"Things","Item":{"Key":{"S":"' + b"\\u0041" * (20 * MIB // 6) + b'"}}}',
    "one name many times": b'{"TableName":"Things","Item":{' + b'"Key":{"S":"k"},' * 100_000 + b'"Key":{"S":"k"}}}',
    "100 000 names": json.dumps({"TableName": "Things", "Item": {f"n{n}": {"S": ""} for n in range(100_000)}}).encode(),
}


# The last of equal names counts, and half a surrogate becomes a replacement character, as parsers in Java do it.
TOLERATED = ("one name many times", "half a surrogate")


@pytest.mark.parametrize("name", BODIES)
def test_bodies(node, name):
    answers = []
    with Watch(node, name) as watch:

        def attack():
            while watch.goes_on():
                answers.append(post(node, "PutItem", BODIES[name]))

        # As many at a time as would fill the memory if each were held whole.
        threads = [threading.Thread(target=attack) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert len(answers) >= 8
    for status, said in answers:
        if status == 200 and name in TOLERATED:
            continue
        assert 400 <= status < 500 or (status == 503 and "large requests" in said), (status, said[:300])
        assert not said or "__type" in said, said[:300]


def bomb(size: int, block=bytes(MIB)) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(block) for _ in range(size // len(block))) + packer.flush()


def test_gzip(node):
    whole = gzip.compress(put(), mtime=0)
    assert post(node, "PutItem", whole, **{"Content-Encoding": "gzip"})[0] == 200
    huge, spaces = bomb(1024 * MIB), bomb(23 * MIB, b" " * MIB)
    with Watch(node, "gzip") as watch:
        while watch.goes_on():
            for cut in range(1, len(whole), 7):
                status, said = post(node, "PutItem", whole[:cut], **{"Content-Encoding": "gzip"})
                assert status == 400 and "SerializationException" in said, (cut, status, said)
            assert post(node, "PutItem", b"not gzip", **{"Content-Encoding": "gzip"})[0] == 400
            assert post(node, "PutItem", whole, **{"Content-Encoding": "br"})[0] == 400
    with Watch(node, "gzip bombs"):
        answers = []
        threads = [
            threading.Thread(target=lambda body=body: answers.append(post(node, "PutItem", body, **{"Content-Encoding": "gzip"})))
            for body in [huge, spaces] * 6
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert len(answers) == 12 and all(400 <= status < 500 for status, _ in answers), answers


def test_lengths_and_framing(node):
    """What does not frame one request must not be taken for one, let alone for two."""
    body = put()
    chunked = "Transfer-Encoding: chunked"

    def head(*headers):
        return (f"POST / HTTP/1.1\r\nHost: x\r\n{TARGET.format('PutItem')}" + "".join(f"{h}\r\n" for h in headers) + "\r\n").encode()

    cases = {
        "1 GB announced": (head("Content-Length: 1073741824") + b"{" * 1000, b" 413 "),
        "1 GB in chunks announced": (head(chunked) + b"40000000\r\n" + b" " * 1000, None),
        "chunk of 2^64": (head(chunked) + b"FFFFFFFFFFFFFFFFF\r\n{}", None),
        "chunk of nothing known": (head(chunked) + b"zz\r\n{}", None),
        "two lengths": (head("Content-Length: 2", "Content-Length: 3") + b"{}}", b" 400 "),
        "length and chunks": (head("Content-Length: 5", chunked) + b"0\r\n\r\n", None),
        "length below zero": (head("Content-Length: -1"), b" 400 "),
        "length over 2^64": (head("Content-Length: 99999999999999999999"), b" 400 "),
        "1 MB header": (head("X-Long: " + "x" * MIB), b" 431 "),
        "10 000 headers": (head(*[f"X-{n}: y" for n in range(10_000)]), b" 431 "),
        "1 MB target": (b"POST /" + b"x" * MIB + b" HTTP/1.1\r\n\r\n", None),
        "garbage": (os.urandom(10_000), None),
        "spaces in a header's name": (b"POST / HTTP/1.1\r\nHost : x\r\n\r\n", b" 400 "),
        "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(500), None),
        "HTTP/2 preface and garbage": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + os.urandom(5000), None),
        "half a preface": (b"PRI * HTTP/2.0\r\n\r\nSM", None),
    }
    with Watch(node, "framing"):
        for name, (sent, wanted) in cases.items():
            with connect(node, timeout=PATIENCE_SECONDS) as connection:
                try:
                    connection.sendall(sent)
                    connection.shutdown(socket.SHUT_WR)
                except (BrokenPipeError, ConnectionResetError, OSError):
                    pass
                said = read_all(connection)
            # A reset may overtake the answer when more was sent than was read.
            assert not said or wanted is None or wanted in said[:40], (name, said[:200])
            assert b" 200 " not in said[:40], (name, said[:200])

    # A good request before garbage is answered, what follows is not.
    with connect(node) as connection:
        connection.sendall(request("PutItem", body) + b"\x00\x01garbage\r\n\r\n" + request("PutItem", body))
        said = read_all(connection)
    assert said.count(b"HTTP/1.1 200") == 1 and said.count(b"HTTP/1.1") <= 2, said
    # A client that has said all and closed its half gets its answer.
    with connect(node) as connection:
        connection.sendall(request("GetItem", b'{"TableName":"Things","Key":{"Key":{"S":"k"}}}'))
        connection.shutdown(socket.SHUT_WR)
        assert b'"Item"' in read_all(connection)
    # One that goes away in the middle takes nothing along.
    for cut in (10, 100, len(request("PutItem", body)) - 1):
        with connect(node) as connection:
            connection.sendall(request("PutItem", body)[:cut])
    assert post(node, "PutItem", body)[0] == 200


def test_http2_with_prior_knowledge(node):
    line = ["curl", "-sS", "--http2-prior-knowledge", "-H", "X-Amz-Target: DynamoDB_20120810.ListTables", "-d", "{}", node.url + "/"]
    run = subprocess.run(line, capture_output=True, text=True, timeout=20)
    assert (run.returncode, run.stdout) == (0, '{"TableNames":["Things"]}'), run


def until_closed(connections: list, drip: bytes | None, seconds: float) -> tuple[int, float]:
    """Drips a byte a second into each connection until the server has closed it. How many are left open, and when the last was closed."""
    began = last = time.monotonic()
    left = list(connections)
    while left and time.monotonic() - began < seconds:
        for connection in list(left):
            try:
                if drip:
                    connection.send(drip)
                connection.setblocking(False)
                if connection.recv(4096) == b"":
                    raise ConnectionResetError
            except BlockingIOError:
                continue
            except OSError:
                left.remove(connection)
                last = time.monotonic()
        time.sleep(1)
    for connection in connections:
        connection.close()
    return len(left), last - began


def test_slow_and_silent_clients(node):
    """All kinds at once, since each takes as long as the server's patience: slow headers, slow bodies, idle ones, and those that never read."""
    with Watch(node, "slow and silent"):
        slow_headers = [connect(node) for _ in range(200)]
        for connection in slow_headers:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        idle = [connect(node) for _ in range(1500)]
        kept = [connect(node) for _ in range(200)]
        for connection in kept:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        silent_bodies = [connect(node) for _ in range(200)]
        for connection in silent_bodies:
            connection.sendall(request("PutItem", put())[:-10])
        outcome: dict = {}
        threads = [
            threading.Thread(target=lambda name=name, some=some, drip=drip: outcome.update({name: until_closed(some, drip, PATIENCE_SECONDS)}))
            for name, some, drip in (("headers", slow_headers, b"x"), ("idle", idle, None), ("kept alive", kept, None), ("bodies", silent_bodies, None))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print("\nclosed after, seconds: " + ", ".join(f"{name} {when:.0f}" for name, (_, when) in outcome.items()))
    assert all(left == 0 for left, _ in outcome.values()), outcome


def test_half_sent_bodies_share_a_budget(node):
    """200 clients that send 2 MB of a body and wait: 400 MB, if each were kept."""
    body = put(ConditionExpression="x" * (20 * MIB))
    part = request("PutItem", body)[: 2 * MIB]
    with Watch(node, "half-sent bodies", growth=250 * MIB):
        connections = []
        for _ in range(200):
            connection = connect(node, timeout=1)
            try:
                connection.sendall(part)
            except OSError:
                pass
            connections.append(connection)
            if len(connections) >= 100:
                # Those beyond the budget are not read from: sending would only wait.
                connection.settimeout(0.05)
        time.sleep(8)
        for connection in connections:
            connection.close()
    # And what they held is free again.
    harness.eventually("large bodies are taken again", 30, lambda: post(node, "PutItem", wide(2 * MIB))[0] == 400)


def test_clients_that_do_not_read(node):
    """Each asks for 40 times 300 KB on one connection and reads nothing: the server must not keep the answers."""
    for n in range(4):
        item = {"Key": {"S": f"big-{n}"}, "V": {"S": "x" * 300_000}}
        assert post(node, "PutItem", json.dumps({"TableName": "Things", "Item": item}).encode())[0] == 200
    get = request("GetItem", b'{"TableName":"Things","Key":{"Key":{"S":"big-1"}}}')
    with Watch(node, "never read", growth=250 * MIB):
        connections = []
        for _ in range(100):
            connection = connect(node)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(get * 40)
            connections.append(connection)
        time.sleep(5)
        for connection in connections:
            connection.close()


def test_many_connections(node):
    """Connections that come and go without a word, as fast as they can."""
    with Watch(node, "connect and leave"):
        for _ in range(5000):
            connect(node).close()
    assert post(node, "PutItem", put())[0] == 200
