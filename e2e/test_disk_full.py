"""A full disk: a small file system under one node's data, filled to the last byte. Needs root, for the mount.

The node refuses writes and goes on to serve reads. It must not spoil what the other nodes can do.
"""

import os
import subprocess
import time
from contextlib import contextmanager

import pytest
from botocore.exceptions import ClientError
from buckets import Bucket
from harness import Cluster, eventually

DISK_MEGABYTES = 160
VALUE = os.urandom(300_000)
# Elections and the promises that end before them; after that the other nodes lead.
SETTLE_SECONDS = 5.0
LIMIT_SECONDS = 1.0

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system, which needs root")


@contextmanager
def small_disk(path):
    path.mkdir(parents=True, exist_ok=True)
    options = ["-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "tmpfs"]
    subprocess.run(["mount", *options, str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def take_all_space(disk):
    """A file over all that is free. The node has room in its open log segments still."""
    # Unbuffered: a buffer that cannot be written would fail once more when the file is closed.
    with open(disk / "ballast", "wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 16


def timed(call):
    """What a call came to, an answer or an error, and the seconds it took."""
    began = time.monotonic()
    try:
        result = call()
    except ClientError as error:
        result = error
    return result, time.monotonic() - began


def fill(node, disk, call):
    """Writes until the node says that its disk is full."""
    take_all_space(disk)
    for _ in range(2000):
        call()
        if "the disk is full" in node.log_path.read_text(errors="replace"):
            return
    raise AssertionError("the disk never became full\n" + node.log_tail())


@pytest.fixture
def cluster(folder):
    """Three nodes; the last one's data lies on a small disk."""
    cluster = Cluster(folder)
    full = cluster.nodes[2]
    with small_disk(full.folder / full.name) as disk:
        try:
            yield cluster.start(), full, disk
        finally:
            cluster.close()


def test_one_node_with_a_full_disk_does_not_spoil_what_the_others_can_do(cluster):
    cluster, full, disk = cluster
    keys = [f"key {n}" for n in range(30)]
    bucket = {node.name: Bucket(node.url, "b") for node in cluster.nodes}
    assert bucket["node-a"].create().status < 300
    for key in keys:
        assert bucket["node-a"].put(key, b"old", w="all").status < 300
    cluster.create_table("Items", "Key")
    clients = {node.name: node.dynamodb(retries=0) for node in cluster.nodes}

    def put(name, n, value="x"):
        return clients[name].put_item(TableName="Items", Item={"Key": {"S": f"item {n}"}, "Value": {"S": value}})

    for n in range(30):
        put("node-a", n)
    filler = [0]

    def write():
        filler[0] += 1
        bucket["node-a"].put(f"filler {filler[0]}", VALUE, w="one")
        timed(lambda: put("node-a", filler[0] % 30, "y" * 100_000))

    fill(full, disk, write)
    time.sleep(SETTLE_SECONDS)

    # Buckets: a quorum through any node, also through the one that stores nothing.
    slowest = 0.0
    for number, key in enumerate(keys):
        through = cluster.nodes[number % 3].name
        seen = bucket[through].get(key)
        wrote, seconds = timed(lambda: bucket[through].put(key, b"new", context=seen.context))
        slowest = max(slowest, seconds)
        assert wrote.status < 300, f"{key} through {through}: {wrote}"
        for node in cluster.nodes:
            read, seconds = timed(lambda: bucket[node.name].get(key))
            slowest = max(slowest, seconds)
            assert (read.status, read.body) == (200, b"new"), f"{key} through {node.name}: {read}"
    print(f"\nslowest bucket request with one disk full: {slowest * 1000:.0f} ms")
    assert slowest < LIMIT_SECONDS

    # Tables: the other two lead every partition.
    slowest = 0.0
    for node in cluster.nodes:
        for n in range(30):
            answer, seconds = timed(lambda: put(node.name, n, f"new from {node.name}"))
            slowest = max(slowest, seconds)
            assert not isinstance(answer, Exception), f"item {n} through {node.name} after {seconds:.2f} s: {answer}"
            read = clients[node.name].get_item(TableName="Items", Key={"Key": {"S": f"item {n}"}}, ConsistentRead=True)
            assert read["Item"]["Value"]["S"] == f"new from {node.name}"
    print(f"slowest table write with one disk full: {slowest * 1000:.0f} ms")
    assert slowest < LIMIT_SECONDS

    # With room again the node catches up.
    (disk / "ballast").unlink()
    cluster.assert_replicas_equal()


def test_a_single_node_with_a_full_disk_refuses_writes_at_once_and_serves_reads(folder):
    cluster = Cluster(folder, zones="a")
    node = cluster.nodes[0]
    with small_disk(node.folder / node.name) as disk:
        try:
            cluster.start()
            cluster.create_table("Items", "Key")
            client = node.dynamodb(retries=0)

            def put(value):
                return client.put_item(TableName="Items", Item={"Key": {"S": "k"}, "Value": {"S": value}})

            put("kept")
            read = {"TableName": "Items", "Key": {"Key": {"S": "k"}}, "ConsistentRead": True}
            fill(node, disk, lambda: timed(lambda: put("z" * 300_000)))
            value = client.get_item(**read)["Item"]["Value"]["S"]
            for _ in range(20):
                error, seconds = timed(lambda: put("refused"))
                assert isinstance(error, ClientError), error
                assert "nothing was done" in str(error) and "no space left" in str(error), error
                assert str(disk) not in str(error), error
                assert seconds < LIMIT_SECONDS, f"{seconds:.2f} s: {error}"
            assert client.get_item(**read)["Item"]["Value"]["S"] == value

            (disk / "ballast").unlink()

            def accepted():
                return not isinstance(timed(lambda: put("again"))[0], Exception)

            eventually("writes are taken again", 10, accepted)
            assert client.get_item(**read)["Item"]["Value"]["S"] == "again"
        finally:
            cluster.close()
