"""Global secondary indexes on three nodes: made with a table, made and deleted while writes go on, with a leader killed in the middle."""

import random
import threading
import time

from botocore.exceptions import BotoCoreError, ClientError

from harness import eventually

TABLE = "Orders"
WORKERS = 3
ITEMS = 1500
STATUSES = ["new", "paid", "sent", "lost"]


def attribute(name, kind="S"):
    return {"AttributeName": name, "AttributeType": kind}


def keys(**roles):
    return [{"AttributeName": name, "KeyType": role} for name, role in roles.items()]


BY_STATUS = {
    "IndexName": "byStatus",
    "KeySchema": keys(Status="HASH", Total="RANGE"),
    "Projection": {"ProjectionType": "ALL"},
}
BY_CUSTOMER = {
    "IndexName": "byCustomer",
    "KeySchema": keys(Customer="HASH", Region="HASH", Status="RANGE", Total="RANGE"),
    "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["Note"]},
}


def create(client):
    client.create_table(
        TableName=TABLE,
        KeySchema=keys(Id="HASH"),
        AttributeDefinitions=[attribute("Id"), attribute("Status"), attribute("Total", "N")],
        BillingMode="PAY_PER_REQUEST",
        GlobalSecondaryIndexes=[BY_STATUS],
    )

    def active():
        table = client.describe_table(TableName=TABLE)["Table"]
        assert all(index["IndexStatus"] == table["TableStatus"] for index in table["GlobalSecondaryIndexes"]), table
        return table["TableStatus"] == "ACTIVE"

    eventually("the table and its index are ACTIVE", 30.0, active)


def order(number, rng):
    item = {
        "Id": {"S": f"order-{number:05}"},
        "Customer": {"S": f"customer-{number % 17}"},
        "Region": {"S": rng.choice(["eu", "us"])},
        "Total": {"N": str(rng.randrange(1000))},
        "Note": {"S": "n" * rng.randrange(50)},
        "Other": {"S": "o"},
    }
    # Some items are in no index by status.
    if rng.random() < 0.9:
        item["Status"] = {"S": rng.choice(STATUSES)}
    return item


class Load:
    """Puts, updates and deletes through every node until it is told to stop. Whatever fails may have happened: the table tells, at the end."""

    def __init__(self, cluster):
        self.stop = threading.Event()
        self.done = 0
        self.refused: list = []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.work, args=(cluster, worker)) for worker in range(WORKERS)]
        for thread in self.threads:
            thread.start()

    def work(self, cluster, worker):
        rng = random.Random(worker)
        clients = [node.dynamodb(retries=1, read_timeout=5.0) for node in cluster.nodes]
        turn = worker
        while not self.stop.is_set():
            # Workers share no items, and no item has two writers.
            number = rng.randrange(ITEMS // WORKERS) * WORKERS + worker
            item = order(number, rng)
            try:
                client = clients[turn % len(clients)]
                if rng.random() < 0.15:
                    client.delete_item(TableName=TABLE, Key={"Id": item["Id"]})
                elif rng.random() < 0.3:
                    client.update_item(
                        TableName=TABLE,
                        Key={"Id": item["Id"]},
                        UpdateExpression="SET #s = :s, Customer = if_not_exists(Customer, :c), #r = if_not_exists(#r, :r), #t = :t",
                        ExpressionAttributeNames={"#s": "Status", "#r": "Region", "#t": "Total"},
                        ExpressionAttributeValues={
                            ":s": {"S": rng.choice(STATUSES)},
                            ":c": item["Customer"],
                            ":r": item["Region"],
                            ":t": item["Total"],
                        },
                    )
                else:
                    client.put_item(TableName=TABLE, Item=item)
                with self.lock:
                    self.done += 1
            except ClientError as error:
                turn += 1
                if error.response["Error"]["Code"] == "ValidationException":
                    self.refused.append(error)
            except BotoCoreError:
                turn += 1

    def finish(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        assert not self.refused, self.refused[:3]
        return self.done


def scan(client, **more):
    rows, start = [], {}
    while True:
        page = client.scan(TableName=TABLE, **more, **start)
        rows += page["Items"]
        if "LastEvaluatedKey" not in page:
            return rows
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def query(client, **more):
    rows, start = [], {}
    while True:
        page = client.query(TableName=TABLE, **more, **start)
        rows += page["Items"]
        if "LastEvaluatedKey" not in page:
            return rows
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def projected(item, index):
    if index["Projection"]["ProjectionType"] == "ALL":
        return item
    names = {"Id", *(key["AttributeName"] for key in index["KeySchema"]), *index["Projection"]["NonKeyAttributes"]}
    return {name: value for name, value in item.items() if name in names}


def by_id(rows):
    rows = list(rows)
    found = {row["Id"]["S"]: row for row in rows}
    assert len(found) == len(rows), "an item is in the index twice"
    return found


def assert_follows(cluster, index):
    """Every node, sooner or later, reads from the index exactly what the table says."""
    items = scan(cluster.nodes[0].dynamodb(), ConsistentRead=True)
    attributes = [key["AttributeName"] for key in index["KeySchema"]]
    expected = by_id(projected(item, index) for item in items if all(name in item for name in attributes))
    assert len(expected) > 100, f"only {len(expected)} items have {attributes}"
    for node in cluster.nodes:
        client = node.dynamodb()

        def follows(client=client):
            held = by_id(scan(client, IndexName=index["IndexName"]))
            missing, extra = expected.keys() - held.keys(), held.keys() - expected.keys()
            assert not missing and not extra, f"{len(missing)} rows missing, {len(extra)} too many"
            different = [name for name in held if held[name] != expected[name]]
            assert not different, f"{len(different)} rows differ, first {held[different[0]]}, {expected[different[0]]}"
            return True

        eventually(f"{index['IndexName']} follows on {node.name}", 60.0, follows)
        segments = [
            row
            for segment in range(5)
            for row in scan(client, IndexName=index["IndexName"], Segment=segment, TotalSegments=5)
        ]
        assert by_id(segments) == expected


def leader_node(cluster):
    """The node that leads most of the table's partitions."""
    status = cluster.nodes[0].json("/admin/status")
    table = next(table for table in status["tables"] if table["name"] == TABLE)
    leaders = [partition["leader"] for partition in table["partitions"] if partition["leader"]]
    number = max(set(leaders), key=leaders.count)
    address = next(node["api_addr"] for node in status["nodes"] if node["id"] == number)
    return next(node for node in cluster.nodes if node.address == address)


def index_of(client, name):
    indexes = client.describe_table(TableName=TABLE)["Table"].get("GlobalSecondaryIndexes", [])
    return next((index for index in indexes if index["IndexName"] == name), None)


def ask_until_done(cluster, done, **update):
    """UpdateTable, asked again through another node when the answer does not come."""

    def ask():
        for node in cluster.nodes:
            if not node.running():
                continue
            client = node.dynamodb(retries=0, read_timeout=8.0)
            try:
                if done(client):
                    return True
                client.update_table(TableName=TABLE, **update)
                return True
            except (BotoCoreError, ClientError):
                time.sleep(0.2)
        return False

    eventually("the table is updated", 40.0, ask)


def test_made_with_the_table_and_a_leader_killed(cluster):
    create(cluster.nodes[0].dynamodb())
    load = Load(cluster)
    time.sleep(4)
    victim = leader_node(cluster)
    victim.kill()
    time.sleep(4)
    victim.start().wait_ready()
    time.sleep(2)
    done = load.finish()
    cluster.wait_whole()
    assert done > 500, f"only {done} writes were acknowledged"
    assert_follows(cluster, BY_STATUS)
    client = cluster.nodes[1].dynamodb()
    # A query of each status, forwards, backwards and in small pages, against the table.
    items = [item for item in scan(client, ConsistentRead=True) if "Status" in item]
    for status in STATUSES:
        wanted = [item for item in items if item["Status"]["S"] == status]
        totals = sorted(int(item["Total"]["N"]) for item in wanted)
        condition = {
            "IndexName": "byStatus",
            "KeyConditionExpression": "#s = :s",
            "ExpressionAttributeNames": {"#s": "Status"},
            "ExpressionAttributeValues": {":s": {"S": status}},
        }
        rows = query(client, **condition)
        assert [int(row["Total"]["N"]) for row in rows] == totals
        back = query(client, ScanIndexForward=False, Limit=7, **condition)
        assert back == rows[::-1]
        assert client.query(TableName=TABLE, Select="COUNT", **condition)["Count"] == len(wanted)
    cluster.assert_replicas_equal()
    lags = [row for node in cluster.nodes for row in node.json("/admin/indexes")]
    assert lags and all(row["lag_ms"] == 0 and not row["backfilling"] for row in lags), lags


def test_made_and_deleted_online_with_a_leader_killed_in_the_backfill(cluster):
    client = cluster.nodes[0].dynamodb()
    create(client)
    rng = random.Random(7)
    for start in range(0, ITEMS, 25):
        puts = [{"PutRequest": {"Item": order(number, rng)}} for number in range(start, start + 25)]
        while puts:
            puts = client.batch_write_item(RequestItems={TABLE: puts})["UnprocessedItems"].get(TABLE, [])
    load = Load(cluster)
    time.sleep(1)
    more = [attribute("Customer"), attribute("Region"), attribute("Status"), attribute("Total", "N")]
    ask_until_done(
        cluster,
        lambda client: index_of(client, "byCustomer"),
        AttributeDefinitions=more,
        GlobalSecondaryIndexUpdates=[{"Create": BY_CUSTOMER}],
    )
    victim = leader_node(cluster)
    victim.kill()
    alive = next(node for node in cluster.nodes if node is not victim).dynamodb()
    found = index_of(alive, "byCustomer")
    assert found["IndexStatus"] in ("CREATING", "ACTIVE"), found
    eventually("the index is ACTIVE with a node down", 60.0, lambda: index_of(alive, "byCustomer")["IndexStatus"] == "ACTIVE")
    victim.start().wait_ready()
    cluster.wait_whole()
    time.sleep(2)
    assert load.finish() > 200
    assert_follows(cluster, BY_CUSTOMER)
    assert_follows(cluster, BY_STATUS)

    # A multi-attribute key: all of the partition by equality, the sort attributes from the left.
    items = scan(client, ConsistentRead=True)
    one = next(item for item in items if all(name in item for name in ("Customer", "Region", "Status")))
    values = {":c": one["Customer"], ":r": one["Region"], ":s": one["Status"], ":t": {"N": "500"}}
    rows = query(
        client,
        IndexName="byCustomer",
        KeyConditionExpression="Customer = :c AND #r = :r AND #s = :s AND #t < :t",
        ExpressionAttributeNames={"#r": "Region", "#s": "Status", "#t": "Total"},
        ExpressionAttributeValues=values,
    )
    wanted = [
        item["Id"]["S"]
        for item in items
        if [item.get(name) for name in ("Customer", "Region", "Status")] == [values[":c"], values[":r"], values[":s"]]
        and int(item["Total"]["N"]) < 500
    ]
    assert sorted(row["Id"]["S"] for row in rows) == sorted(wanted)

    ask_until_done(
        cluster,
        lambda client: (index_of(client, "byStatus") or {"IndexStatus": "DELETING"})["IndexStatus"] == "DELETING",
        GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "byStatus"}}],
    )
    eventually("the index is gone", 30.0, lambda: index_of(client, "byStatus") is None)
    try:
        client.scan(TableName=TABLE, IndexName="byStatus")
        raise AssertionError("a deleted index was read")
    except ClientError as error:
        assert error.response["Error"]["Code"] == "ValidationException"
    assert client.list_tables()["TableNames"] == [TABLE]
    cluster.assert_replicas_equal()
    groups = {row["table"] for row in cluster.replica_rows(digest=False)}
    assert groups == {"meta", TABLE, f"{TABLE}/index/byCustomer"}, groups

    client.delete_table(TableName=TABLE)

    def all_gone():
        left = {row["table"] for row in cluster.replica_rows(digest=False)}
        return left == {"meta"}

    eventually("nothing is left of the table", 30.0, all_gone)


def test_two_nodes_change_settings_at_once_and_both_changes_stay(cluster):
    client = cluster.nodes[0].dynamodb()
    create(client)
    arn = client.describe_table(TableName=TABLE)["Table"]["TableArn"]
    failures = []

    def tag(node, name):
        own = node.dynamodb()
        for number in range(12):
            try:
                own.tag_resource(ResourceArn=arn, Tags=[{"Key": f"{name}-{number}", "Value": "x"}])
            except (BotoCoreError, ClientError) as error:
                failures.append(error)

    threads = [threading.Thread(target=tag, args=(node, node.name)) for node in cluster.nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    tags = {tag["Key"] for tag in client.list_tags_of_resource(ResourceArn=arn)["Tags"]}
    assert tags == {f"{node.name}-{number}" for node in cluster.nodes for number in range(12)}
