"""Real input: the machine's Debian package index through unmodified SDKs, read back equal by GetItem and by Query."""

import json
import os
import subprocess
import time

import debian
import traffic
from harness import HOME

KEYS = ["Section", "Name"]


def query_all(client, table, section):
    pages = client.get_paginator("query").paginate(
        TableName=table,
        KeyConditionExpression="#s = :s",
        ExpressionAttributeNames={"#s": "Section"},
        ExpressionAttributeValues={":s": {"S": section}},
        ConsistentRead=True,
    )
    return [item for page in pages for item in page["Items"]]


def assert_queries_equal(cluster, table, items):
    """Every section by Query through the nodes in turn: complete, equal and in the order of the sort key."""
    sections: dict = {}
    for item in items:
        sections.setdefault(item["Section"]["S"], []).append(item)
    clients = [node.dynamodb() for node in cluster.nodes]
    for index, (section, wanted) in enumerate(sorted(sections.items())):
        got = query_all(clients[index % len(clients)], table, section)
        names = [item["Name"]["S"] for item in got]
        assert names == sorted(names, key=lambda name: name.encode()), f"{section}: not in order"
        assert names == sorted((item["Name"]["S"] for item in wanted), key=lambda name: name.encode()), section
        by_name = {item["Name"]["S"]: item for item in wanted}
        for item in got:
            assert traffic.same(item, by_name[item["Name"]["S"]]), (section, item)


def test_package_index_with_boto3(cluster):
    items = debian.load(default_slice=16000)
    cluster.create_table("Packages", "Section", "Name")
    began = time.monotonic()
    acknowledged = traffic.Writers(cluster.urls, "Packages", items).finish()
    took = time.monotonic() - began
    assert len(acknowledged) == len(items)
    print(f"\nboto3: {len(items)} records in {took:.1f} s, {len(items) / took:.0f}/s")
    traffic.assert_readable(cluster.urls, "Packages", items, KEYS)
    assert_queries_equal(cluster, "Packages", items)
    # Eventual reads come from any replica, which has caught up by now.
    groups = cluster.assert_replicas_equal()
    traffic.assert_readable(cluster.urls, "Packages", items[::16], KEYS, consistent=False)
    print(f"{groups} groups, three equal replicas each")


def test_package_index_with_the_javascript_sdk(cluster, folder):
    items = debian.load(default_slice=6000)
    cluster.create_table("Packages", "Section", "Name")
    source = folder / "items.jsonl"
    source.write_text("\n".join(json.dumps(item) for item in items))
    command = ["node", str(HOME / "js" / "load.mjs"), "Packages", str(source), ",".join(cluster.urls)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=1200, env=dict(os.environ))
    print(run.stdout)
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    report = json.loads(run.stdout.strip().splitlines()[-1])
    assert report == {"written": len(items), "got": len(items), "queried": len(items)}
    cluster.assert_replicas_equal()
