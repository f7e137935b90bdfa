"""Many tables, made and used through different nodes at once."""

import concurrent.futures

import pytest
from botocore.exceptions import ClientError

TABLES = 90
WORKERS = 6


def test_many_tables_through_every_node(cluster):
    clients = [node.dynamodb() for node in cluster.nodes]

    def live(number):
        name = f"Many-{number:03}"
        made, used, dropped = (clients[(number + step) % len(clients)] for step in range(3))
        made.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "Key", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "Key", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        # At once, through another node, which may not have heard of it yet.
        used.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
        used.put_item(TableName=name, Item={"Key": {"S": "k"}, "Table": {"S": name}})
        read = dropped.get_item(TableName=name, Key={"Key": {"S": "k"}}, ConsistentRead=True)
        assert read["Item"]["Table"]["S"] == name
        return name

    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        names = list(pool.map(live, range(TABLES)))
    for client in clients:
        assert client.get_paginator("list_tables").paginate().build_full_result()["TableNames"] == names

    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(lambda number: clients[number % 3].delete_table(TableName=names[number]), range(TABLES)))
    clients[0].get_waiter("table_not_exists").wait(TableName=names[-1], WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    for client in clients:
        with pytest.raises(ClientError, match="ResourceNotFoundException"):
            client.get_item(TableName=names[0], Key={"Key": {"S": "k"}})


def test_a_table_is_deleted_only_if_it_may_be_at_that_moment(cluster):
    """Protected, or given an index, through one node and deleted at once through another, which may not have heard of it."""
    one, other = cluster.nodes[0].dynamodb(), cluster.nodes[1].dynamodb(retries=0)
    cluster.create_table("Guarded", "Key")
    for _ in range(40):
        one.update_table(TableName="Guarded", DeletionProtectionEnabled=True)
        with pytest.raises(ClientError, match="deletion protection"):
            other.delete_table(TableName="Guarded")
        one.update_table(TableName="Guarded", DeletionProtectionEnabled=False)
    index = {
        "IndexName": "ByOther",
        "KeySchema": [{"AttributeName": "Other", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    one.update_table(
        TableName="Guarded",
        AttributeDefinitions=[{"AttributeName": "Other", "AttributeType": "S"}],
        GlobalSecondaryIndexUpdates=[{"Create": index}],
    )
    with pytest.raises(ClientError, match="ResourceInUseException"):
        other.delete_table(TableName="Guarded")
    assert "Guarded" in one.list_tables()["TableNames"]
