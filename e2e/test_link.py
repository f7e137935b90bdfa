"""Between nodes: the cluster's secret, slow links, and a node that comes back far behind."""

import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import BotoCoreError, ClientError

import delay
import harness

SECRET = "0123456789abcdef0123456789abcdef"
ITEM_BYTES = 20_000
BATCH = 25
# How much is written while a node is down; 1000 is what a release is tried with.
CATCH_UP_MB = int(os.environ.get("TORC_E2E_CATCH_UP_MB", "100"))


def test_only_who_knows_the_secret_joins(folder):
    cluster = harness.Cluster(folder, zones="ab", environment={"TORC_CLUSTER_SECRET": SECRET})
    stranger = harness.Node("stranger", "c", folder, [cluster.nodes[0].cluster_address], environment={"TORC_CLUSTER_SECRET": SECRET[::-1]})
    try:
        cluster.start()
        stranger.start()
        harness.eventually("the stranger is told why", 20, lambda: "cluster's secret" in stranger.log_path.read_text())
        time.sleep(2)
        assert len(cluster.nodes[0].json("/admin/status")["nodes"]) == 2
        assert stranger.running(), "it goes on asking"
        stranger.kill()
        stranger.environment = {"TORC_CLUSTER_SECRET": SECRET}
        stranger.start().wait_ready()
        assert len(cluster.nodes[0].json("/admin/status")["nodes"]) == 3
        assert SECRET not in "".join(log.read_text(errors="replace") for log in folder.glob("*.log"))
    finally:
        stranger.kill()
        cluster.close()


class Writers:
    """Small writes through some nodes until told to stop: latencies, and how each ended."""

    def __init__(self, nodes, table: str, threads: int = 2):
        self.latencies: list[tuple[float, float]] = []
        self.failures: list[tuple[float, str]] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(node.dynamodb(retries=0, read_timeout=30.0), table, f"{node.name}-{n}"))
            for node in nodes
            for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def _write(self, client, table, name) -> None:
        turn = 0
        while not self._stop.is_set():
            turn += 1
            began = time.monotonic()
            try:
                client.put_item(TableName=table, Item={"Key": {"S": f"{name}-{turn % 500}"}, "Turn": {"N": str(turn)}})
                self.latencies.append((began, time.monotonic() - began))
            except (ClientError, BotoCoreError) as error:
                self.failures.append((began, str(error)))
                self._stop.wait(0.05)
            self._stop.wait(0.005)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def between(self, start: float, end: float) -> tuple[int, float, float, list[str]]:
        """Writes begun between two moments: how many succeeded, p50 and p99 in milliseconds, and what failed."""
        took = sorted(seconds * 1000 for began, seconds in self.latencies if start <= began < end)
        failed = [why for began, why in self.failures if start <= began < end]
        if not took:
            return 0, 0.0, 0.0, failed
        return len(took), took[len(took) // 2], took[min(len(took) - 1, len(took) * 99 // 100)], failed


def test_writes_over_links_of_300_ms_have_known_outcomes(folder):
    nodes, links = [], []
    for zone in "abc":
        join = [f"{delay.PROXY_HOST}:{node.cluster_port}" for node in nodes]
        node = harness.Node(f"node-{zone}", zone, folder, join, flags=["--advertise", delay.PROXY_HOST], environment={"TORC_INSECURE": "1"})
        links.append(delay.DelayedLink(node.cluster_port))
        nodes.append(node)
    cluster = harness.Cluster(folder, zones="")
    cluster.nodes = nodes
    try:
        cluster.start()
        cluster.create_table("Slow", "Key")
        for link in links:
            link.delay = 0.3
        began = time.monotonic()
        writers = Writers(nodes, "Slow", threads=4)
        time.sleep(50)
        writers.stop()
        # Round trips are measured first; a jump from nothing to 600 ms may cost a lease.
        for name, start, end in [("first 20 s", 0, 20), ("then", 20, 50)]:
            count, p50, p99, failed = writers.between(began + start, began + end)
            print(f"{name}: {count} writes, p50 {p50:.0f} ms, p99 {p99:.0f} ms, {len(failed)} failed {sorted(set(failed))[:3]}")
        assert count > 100, "writes go on"
        assert not failed
        for link in links:
            link.delay = 0.0
        cluster.assert_replicas_equal()
    finally:
        cluster.close()
        for link in links:
            link.close()


def put_large(client, table: str, batch: int, value: str) -> None:
    wanted = {table: [{"PutRequest": {"Item": {"Key": {"S": f"large-{batch}-{n}"}, "Value": {"S": value}}}} for n in range(BATCH)]}
    while wanted:
        wanted = client.batch_write_item(RequestItems=wanted)["UnprocessedItems"]


def test_a_node_far_behind_catches_up_without_breaking_a_link(folder):
    cluster = harness.Cluster(folder, environment={"TORC_LOG": "info,torc::transport=debug"})
    a, b, c = cluster.nodes
    try:
        cluster.start()
        cluster.create_table("Large", "Key")
        c.kill()
        value = "x" * ITEM_BYTES
        batches = CATCH_UP_MB * 1_000_000 // (BATCH * ITEM_BYTES)
        began = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            client = a.dynamodb(retries=10)
            list(pool.map(lambda batch: put_large(client, "Large", batch, value), range(batches)))
        loaded = time.monotonic() - began
        writers = Writers([a, b], "Large")
        alone = time.monotonic()
        time.sleep(10)
        marks = {node: node.log_path.stat().st_size for node in (a, b, c)}
        started = time.monotonic()
        c.start()
        c.wait_ready(120)

        def caught_up():
            rows: dict = {}
            for row in cluster.replica_rows(digest=False):
                rows.setdefault(row["group"], {})[row["node"]] = row["applied"]
            behind = {group: applied for group, applied in rows.items() if max(applied.values()) - min(applied.values()) > 50}
            assert not behind and all(len(applied) == 3 for applied in rows.values()), f"behind: {behind}"
            return True

        harness.eventually("the node has caught up", 60 + CATCH_UP_MB, caught_up)
        took = time.monotonic() - started
        end = time.monotonic()
        time.sleep(5)
        writers.stop()
        before, during = writers.between(alone, started), writers.between(started, end)
        print(f"{CATCH_UP_MB} MB written in {loaded:.0f} s; caught up {took:.1f} s after its start, {CATCH_UP_MB / took:.0f} MB/s")
        for name, (count, p50, p99, failed) in [("before", before), ("during", during)]:
            print(f"{name}: {count} small writes, p50 {p50:.1f} ms, p99 {p99:.1f} ms, {len(failed)} failed")
        broken = []
        for node, mark in marks.items():
            with open(node.log_path, "rb") as log:
                log.seek(mark)
                broken += re.findall(r"connection ended.*", log.read().decode(errors="replace"))
        assert not broken, broken
        assert not writers.failures, writers.failures[:3]
        cluster.assert_replicas_equal()
        if CATCH_UP_MB >= 1000:
            assert during[2] <= 2 * before[2], "foreground p99"
    finally:
        cluster.close()
