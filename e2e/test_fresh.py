"""What test suites written for DynamoDB Local rely on: indexes that hold what was just written, names that are free once a table is deleted."""

import os
import time

import pytest

from harness import Cluster
from test_indexes import attribute, keys

FULL = bool(os.environ.get("TORC_E2E_FULL"))


def index(name, key):
    return {"IndexName": name, "KeySchema": keys(**{key: "HASH"}), "Projection": {"ProjectionType": "ALL"}}


def create(client, name):
    return client.create_table(
        TableName=name,
        KeySchema=keys(Id="HASH"),
        AttributeDefinitions=[attribute("Id"), attribute("A"), attribute("B")],
        BillingMode="PAY_PER_REQUEST",
        GlobalSecondaryIndexes=[index("byA", "A"), index("byB", "B")],
    )


def stale_reads(writer, readers, rounds):
    """Writes items and queries each through both indexes as soon as its write is acknowledged; counts what was not found."""
    create(writer, "Fresh")
    for client in readers:
        client.get_waiter("table_exists").wait(TableName="Fresh")
    stale, times = 0, []
    for number in range(rounds):
        value = f"v{number}"
        writer.put_item(TableName="Fresh", Item={"Id": {"S": f"i{number}"}, "A": {"S": value}, "B": {"S": value}})
        reader = readers[number % len(readers)]
        for name, key in (("byA", "A"), ("byB", "B")):
            began = time.perf_counter()
            found = reader.query(
                TableName="Fresh",
                IndexName=name,
                KeyConditionExpression=f"{key} = :v",
                ExpressionAttributeValues={":v": {"S": value}},
            )
            times.append(time.perf_counter() - began)
            stale += found["Count"] != 1
    scanned = readers[0].scan(TableName="Fresh", IndexName="byA", Select="COUNT", Limit=10)
    assert scanned["Count"] == min(10, rounds)
    times.sort()
    p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
    print(f"{rounds} writes, {2 * rounds} queries: {stale} stale; p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms")
    return stale


def test_an_index_of_a_single_node_holds_what_was_just_written(single):
    client = single.nodes[0].dynamodb()
    assert stale_reads(client, [client], 10_000 if FULL else 1_000) == 0


def test_with_the_setting_an_index_of_a_cluster_does_too(folder):
    cluster = Cluster(folder, environment={"TORC_INDEX_READS": "wait"})
    try:
        cluster.start()
        clients = [node.dynamodb() for node in cluster.nodes]
        assert stale_reads(clients[0], clients, 5_000 if FULL else 500) == 0
    finally:
        cluster.close()


def test_a_deleted_table_is_gone_when_deletetable_answers(single):
    client = single.nodes[0].dynamodb()
    for number in range(1_000 if FULL else 100):
        assert create(client, "Again")["TableDescription"]["TableStatus"] == "CREATING"
        # A suite's tables hold something when they go.
        client.put_item(TableName="Again", Item={"Id": {"S": "x"}, "A": {"S": str(number)}, "B": {"S": "b"}})
        assert client.delete_table(TableName="Again")["TableDescription"]["TableStatus"] == "DELETING"
        assert client.list_tables()["TableNames"] == []
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.describe_table(TableName="Again")


def test_a_deleted_table_of_a_cluster_can_be_made_again_through_any_node(cluster):
    clients = [node.dynamodb() for node in cluster.nodes]
    for number in range(60 if FULL else 12):
        client = clients[number % len(clients)]
        create(client, "Again")
        client.delete_table(TableName="Again")
        assert "Again" not in client.list_tables()["TableNames"]
