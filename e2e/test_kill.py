"""kill -9 under load: nothing acknowledged is lost, and no partition stops taking writes for two seconds."""

import os
import signal
import time

import debian
import traffic

KEYS = ["Section", "Name"]
# Enough keys that every partition of the table has several.
PROBE_KEYS = [f"probe-{index:02}" for index in range(24)]
LIMIT_SECONDS = 2.0
# A frozen node keeps its connections: the probes' own timeouts of 0.4 s come on top.
FROZEN_LIMIT_SECONDS = 4.0
# Items a second for each of two writers: a steady load whose read-back afterwards still ends soon. The full run goes as fast as it can.
PACE = None if os.environ.get("TORC_E2E_FULL") else 300


def report(results):
    worst = sorted(results, key=lambda result: -result["longest"])
    print("\nlongest interruption of writes, by key:")
    for result in worst[:8]:
        print(f"  {result['key']}  {result['longest'] * 1000:6.0f} ms  ({result['acknowledged']} acknowledged)")
    print(f"  worst of {len(results)} keys: {worst[0]['longest'] * 1000:.0f} ms")
    return worst[0]["longest"]


def test_kill_each_node_in_turn_under_load(cluster):
    items = debian.load(default_slice=16000)
    cluster.create_table("Packages", "Section", "Name")
    cluster.create_table("Probes", "Key")
    probes = traffic.Probes(cluster.urls, "Probes", "Key", PROBE_KEYS)
    writers = traffic.Writers(cluster.urls, "Packages", items, endless_key="Name", pace=PACE)
    time.sleep(2)
    for node in cluster.nodes:
        node.kill()
        time.sleep(4)  # the load goes on with two of three
        node.start().wait_ready()
        cluster.wait_whole()
        # Only a cluster that is whole again can afford to lose the next node.
        cluster_is_level(cluster)
    results = probes.finish()
    assert writers.running(), "the load ended before the last kill"
    writers.stop.set()
    acknowledged = writers.finish()
    worst = report(results)

    groups = cluster.assert_replicas_equal()
    print(f"{groups} groups, three equal replicas each; {len(acknowledged)} acknowledged items")
    traffic.assert_readable(cluster.urls, "Packages", acknowledged, KEYS)
    for result in results:
        assert result["acknowledged"], f"{result['key']} was never acknowledged"
        read = cluster.nodes[0].dynamodb().get_item(
            TableName="Probes", Key={"Key": {"S": result["key"]}}, ConsistentRead=True
        )
        # The last attempt may have taken effect without its answer; nothing older than the last acknowledged may be there.
        count = int(read["Item"]["Count"]["N"])
        assert result["acknowledged"] <= count <= result["attempts"], (result, read["Item"])
    assert worst < LIMIT_SECONDS, f"a partition took no writes for {worst:.2f} s"


def cluster_is_level(cluster, lag=2000, seconds=60.0):
    """Every group has three replicas within `lag` entries of each other: the restarted one has caught up with the load."""
    from harness import eventually

    def level():
        groups: dict = {}
        for row in cluster.replica_rows(digest=False):
            groups.setdefault(row["group"], []).append(row["applied"])
        for group, applied in groups.items():
            assert len(applied) == 3, f"group {group}: {applied}"
            assert max(applied) - min(applied) <= lag, f"group {group}: {applied}"
        return True

    eventually("the restarted node has caught up", seconds, level)


def test_all_three_killed_at_once(cluster):
    items = debian.load(default_slice=16000)
    cluster.create_table("Packages", "Section", "Name")
    writers = traffic.Writers(cluster.urls, "Packages", items, endless_key="Name", pace=PACE and 4 * PACE)
    time.sleep(4)
    assert writers.running(), "the load ended before the kill: it proves nothing"
    for node in cluster.nodes:
        node.process.kill()
    writers.stop.set()
    for node in cluster.nodes:
        node.kill()
    acknowledged = writers.finish(60)
    assert acknowledged, "nothing was acknowledged before the kill"

    for node in cluster.nodes:
        node.start()
    cluster.wait_whole()
    print(f"\n{len(acknowledged)} acknowledged before all three were killed")
    traffic.assert_readable(cluster.urls, "Packages", acknowledged, KEYS)
    cluster.assert_replicas_equal()
    # And it takes writes again.
    acknowledged = traffic.Writers(cluster.urls, "Packages", items[:250]).finish(60)
    assert len(acknowledged) == 250


def test_stopping_a_node_hands_its_leaders_over(cluster):
    """SIGTERM is kinder than SIGKILL: no partition notices for longer than a request takes to move on."""
    cluster.create_table("Probes", "Key")
    probes = traffic.Probes(cluster.urls, "Probes", "Key", PROBE_KEYS)
    time.sleep(1)
    for node in cluster.nodes:
        assert node.stop() == 0, node.log_tail()
        time.sleep(1)
        node.start().wait_ready()
        cluster.wait_whole()
        cluster_is_level(cluster)
    worst = report(probes.finish())
    assert worst < LIMIT_SECONDS, f"a partition took no writes for {worst:.2f} s"
    cluster.assert_replicas_equal()


def test_a_frozen_process_loses_its_partitions_and_no_write(cluster):
    """SIGSTOP far past the lease: its connections stay open, others take over, and when it wakes it must not serve what is old."""
    cluster.create_table("Probes", "Key")
    longest = []
    for node in cluster.nodes:
        # Each key counts from one, so every round has its own.
        keys = [f"{node.name} {key}" for key in PROBE_KEYS]
        probes = traffic.Probes(cluster.urls, "Probes", "Key", keys)
        time.sleep(1)
        node.process.send_signal(signal.SIGSTOP)
        time.sleep(4)
        node.process.send_signal(signal.SIGCONT)
        # The first thing it is asked: anything older than the last acknowledged write would be a stale read.
        before = probes.finish()
        for result in before:
            read = node.dynamodb().get_item(TableName="Probes", Key={"Key": {"S": result["key"]}}, ConsistentRead=True)
            count = int(read["Item"]["Count"]["N"])
            assert result["acknowledged"] <= count <= result["attempts"], (result, read["Item"])
        longest.append(report(before))
        cluster.wait_whole()
        cluster_is_level(cluster)
    assert max(longest) < FROZEN_LIMIT_SECONDS, f"a partition took no writes for {max(longest):.2f} s"
    cluster.assert_replicas_equal()
