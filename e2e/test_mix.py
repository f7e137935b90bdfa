"""Every data plane operation at once through boto3 on three nodes, while the node that leads most is killed with -9 and comes back, twice.

Each worker owns its partition keys and knows what must be in them. A write whose outcome is not known retires its key: from then on it may
hold what was there before or what was being written, and nothing else. Everything that is answered is checked, always.
"""

import copy
import random
import threading
import time

from botocore.exceptions import BotoCoreError, ClientError

from harness import eventually
from test_zones import RETRYABLE

TABLE = "Mix"
WORKERS = 6
PARTITIONS = 4
# After a kill every partition must serve again within this, seconds; a worker's operation is tried that long.
PATIENCE_SECONDS = 10.0


class Ambiguous(Exception):
    """A write that may have taken effect, now or a moment later."""


class Worker(threading.Thread):
    def __init__(self, number: int, nodes, stop):
        super().__init__(daemon=True)
        self.number, self.stop = number, stop
        self.random = random.Random(number)
        self.clients = [node.dynamodb(retries=0, read_timeout=3.0) for node in nodes]
        self.turn = number
        self.items: dict = {}  # (pk, sk): item
        self.retired: dict = {}  # (pk, sk): items it may hold, None for absent
        self.next_sk = 0
        self.counts: dict = {}
        self.ambiguous = 0
        self.longest = 0.0
        self.error: BaseException | None = None

    def run(self):
        try:
            steps = [
                self.put, self.put_again, self.update, self.update, self.delete, self.condition_fails, self.get, self.get_eventually,
                self.query, self.query_index, self.scan, self.batch_write, self.batch_get, self.legacy_update,
            ]
            while not self.stop.is_set():
                step = self.random.choice(steps)
                step()
                self.counts[step.__name__] = self.counts.get(step.__name__, 0) + 1
        except BaseException as error:  # shown by the test
            self.error = error

    # Calls

    def read(self, operation: str, **arguments):
        """Tried until some node answers."""
        return self.call(operation, True, arguments)

    def write(self, operation: str, **arguments):
        """Tried until it certainly did something, or may have."""
        return self.call(operation, False, arguments)

    def call(self, operation: str, again_after_doubt: bool, arguments: dict):
        began = time.monotonic()
        while True:
            client = self.clients[self.turn % len(self.clients)]
            try:
                answer = getattr(client, operation)(TableName=TABLE, **arguments) if "RequestItems" not in arguments else getattr(client, operation)(**arguments)
                self.longest = max(self.longest, time.monotonic() - began)
                return answer
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code not in RETRYABLE:
                    raise
                doubt = code == "InternalServerError"
            except BotoCoreError as error:
                # Nobody listened: nothing was done. Any other end of a connection leaves doubt.
                doubt = type(error).__name__ not in ("EndpointConnectionError", "ConnectTimeoutError")
            self.turn += 1
            if doubt and not again_after_doubt:
                self.ambiguous += 1
                raise Ambiguous(operation)
            assert time.monotonic() - began < PATIENCE_SECONDS, f"{operation} was not served for {PATIENCE_SECONDS} s"
            time.sleep(0.05)

    # Keys

    def partition(self) -> str:
        return f"w{self.number}-p{self.random.randrange(PARTITIONS)}"

    def new_item(self) -> dict:
        self.next_sk += 1
        n = self.next_sk
        return {
            "pk": {"S": self.partition()}, "sk": {"N": str(n)}, "rank": {"N": str(self.random.randrange(100))}, "count": {"N": "0"},
            "list": {"L": [{"N": str(n)}]}, "text": {"S": "x" * self.random.randrange(300)},
        }

    @staticmethod
    def key(item: dict) -> dict:
        return {"pk": item["pk"], "sk": item["sk"]}

    def some(self) -> dict | None:
        return self.items[self.random.choice(list(self.items))] if self.items else None

    def settle(self, item_key, was, now):
        """The write's outcome is known: `now`, or with doubt either."""
        if now is None:
            self.items.pop(item_key, None)
        else:
            self.items[item_key] = now

    def attempt(self, operation: str, was: dict | None, now: dict | None, identity: dict, **arguments):
        at = (identity["pk"]["S"], identity["sk"]["N"])
        try:
            answer = self.write(operation, **arguments)
        except Ambiguous:
            self.items.pop(at, None)
            self.retired[at] = [was, now]
            return None
        self.settle(at, was, now)
        return answer

    # Operations

    def put(self):
        item = self.new_item()
        self.attempt("put_item", None, item, item, Item=item, ConditionExpression="attribute_not_exists(pk)")

    def put_again(self):
        if old := self.some():
            item = {**self.new_item(), **self.key(old)}
            answer = self.attempt("put_item", old, item, old, Item=item, ReturnValues="ALL_OLD")
            assert answer is None or answer["Attributes"] == old, (old, answer)

    def update(self):
        if not (old := self.some()):
            return
        now = copy.deepcopy(old)
        now["count"] = {"N": str(int(old["count"]["N"]) + 1)}
        now["rank"] = {"N": str(self.random.randrange(100))}
        now["list"]["L"].append({"S": "more"})
        now["text"] = {"S": "changed"}
        answer = self.attempt(
            "update_item", old, now, old,
            Key=self.key(old),
            UpdateExpression="SET #r = :r, #t = :t, #l = list_append(#l, :l) ADD #c :one",
            ConditionExpression="#c = :c AND size(#l) = :n",
            ExpressionAttributeNames={"#r": "rank", "#l": "list", "#c": "count", "#t": "text"},
            ExpressionAttributeValues={
                ":r": now["rank"], ":t": now["text"], ":l": {"L": [{"S": "more"}]}, ":one": {"N": "1"}, ":c": old["count"],
                ":n": {"N": str(len(old["list"]["L"]))},
            },
            ReturnValues="ALL_NEW",
        )
        assert answer is None or answer["Attributes"] == now, (now, answer)

    def legacy_update(self):
        if not (old := self.some()):
            return
        now = {**old, "count": {"N": str(int(old["count"]["N"]) + 5)}}
        now.pop("text", None)
        self.attempt(
            "update_item", old, now, old,
            Key=self.key(old),
            AttributeUpdates={"count": {"Action": "ADD", "Value": {"N": "5"}}, "text": {"Action": "DELETE"}},
            Expected={"count": {"ComparisonOperator": "EQ", "AttributeValueList": [old["count"]]}},
        )

    def delete(self):
        if (old := self.some()) and self.random.random() < 0.5:
            answer = self.attempt("delete_item", old, None, old, Key=self.key(old), ReturnValues="ALL_OLD")
            assert answer is None or answer["Attributes"] == old, (old, answer)

    def condition_fails(self):
        if not (old := self.some()):
            return
        try:
            # It changes nothing, so it may be tried again.
            self.read(
                "update_item", Key=self.key(old), UpdateExpression="SET broken = :x", ConditionExpression="attribute_not_exists(pk)",
                ExpressionAttributeValues={":x": {"N": "1"}}, ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self.clients[0].exceptions.ConditionalCheckFailedException as refused:
            assert refused.response["Item"] == old, (old, refused.response)
            return
        raise AssertionError("a condition that does not hold was taken to hold")

    def get(self):
        if old := self.some():
            assert self.read("get_item", Key=self.key(old), ConsistentRead=True).get("Item") == old, old

    def get_eventually(self):
        # May be old, but is whole and of this key.
        if old := self.some():
            item = self.read("get_item", Key=self.key(old)).get("Item")
            assert item is None or (self.key(item) == self.key(old) and "count" in item), (old, item)

    def mine(self, pk: str) -> list:
        return [item for (at, _), item in self.items.items() if at == pk]

    def known(self, found: list) -> list:
        """Without keys whose content is in doubt."""
        return [item for item in found if (item["pk"]["S"], item["sk"]["N"]) not in self.retired]

    def pages(self, operation: str, **arguments) -> list:
        found, start = [], {}
        while True:
            answer = self.read(operation, **arguments, **start)
            found += answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return found
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def query(self):
        pk = self.partition()
        found = self.pages("query", KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": {"S": pk}}, ConsistentRead=True, Limit=25)
        wanted = sorted(self.mine(pk), key=lambda item: int(item["sk"]["N"]))
        assert self.known(found) == wanted, (pk, found, wanted)

    def query_index(self):
        pk = self.partition()
        found = self.pages(
            "query", IndexName="ByRank", KeyConditionExpression="pk = :p AND #r >= :r", ExpressionAttributeNames={"#r": "rank"},
            ExpressionAttributeValues={":p": {"S": pk}, ":r": {"N": "50"}}, ConsistentRead=True, ScanIndexForward=False,
        )
        ranks = [int(item["rank"]["N"]) for item in found]
        assert ranks == sorted(ranks, reverse=True), ranks
        wanted = [item for item in self.mine(pk) if int(item["rank"]["N"]) >= 50]
        order = lambda item: int(item["sk"]["N"])  # noqa: E731
        assert sorted(self.known(found), key=order) == sorted(wanted, key=order), (pk, found, wanted)

    def scan(self):
        if self.random.random() < 0.15:
            found = self.pages("scan", FilterExpression="begins_with(pk, :w)", ExpressionAttributeValues={":w": {"S": f"w{self.number}-"}}, ConsistentRead=True)
            order = lambda item: (item["pk"]["S"], int(item["sk"]["N"]))  # noqa: E731
            assert sorted(self.known(found), key=order) == sorted(self.items.values(), key=order)

    def batch_write(self):
        changes = [(None, self.new_item()) for _ in range(8)]
        changes += [(old, None) for old in self.random.sample(list(self.items.values()), min(3, len(self.items)))]
        waiting = {}
        for old, new in changes:
            item = old or new
            waiting[(item["pk"]["S"], item["sk"]["N"])] = (old, new)
        while waiting:
            requests = [{"PutRequest": {"Item": new}} if new else {"DeleteRequest": {"Key": self.key(old)}} for old, new in waiting.values()]
            try:
                answer = self.write("batch_write_item", RequestItems={TABLE: requests})
            except Ambiguous:
                for at, (old, new) in waiting.items():
                    self.items.pop(at, None)
                    self.retired[at] = [old, new]
                return
            left = set()
            for request in answer.get("UnprocessedItems", {}).get(TABLE, []):
                item = request["PutRequest"]["Item"] if "PutRequest" in request else request["DeleteRequest"]["Key"]
                left.add((item["pk"]["S"], item["sk"]["N"]))
            for at, (old, new) in list(waiting.items()):
                if at not in left:
                    self.settle(at, old, new)
                    del waiting[at]
            if left:
                self.turn += 1
                time.sleep(0.05)

    def batch_get(self):
        some = self.random.sample(list(self.items.values()), min(20, len(self.items)))
        if not some:
            return
        keys, found = [self.key(item) for item in some], []
        deadline = time.monotonic() + PATIENCE_SECONDS
        while keys:
            answer = self.read("batch_get_item", RequestItems={TABLE: {"Keys": keys, "ConsistentRead": True}})
            found += answer["Responses"].get(TABLE, [])
            keys = answer.get("UnprocessedKeys", {}).get(TABLE, {}).get("Keys", [])
            assert time.monotonic() < deadline, "keys stay unprocessed"
            if keys:
                self.turn += 1
                time.sleep(0.05)
        order = lambda item: (item["pk"]["S"], int(item["sk"]["N"]))  # noqa: E731
        assert sorted(found, key=order) == sorted(some, key=order)

    # The end

    def check_all(self, client):
        for (pk, sk), wanted in self.items.items():
            got = client.get_item(TableName=TABLE, Key={"pk": {"S": pk}, "sk": {"N": sk}}, ConsistentRead=True).get("Item")
            assert got == wanted, (pk, sk, wanted, got)
        for (pk, sk), allowed in self.retired.items():
            got = client.get_item(TableName=TABLE, Key={"pk": {"S": pk}, "sk": {"N": sk}}, ConsistentRead=True).get("Item")
            assert got in allowed, (pk, sk, allowed, got)


def leader(cluster):
    """The node that leads most."""
    alive = next(node for node in cluster.nodes if node.running())
    rows = alive.json("/admin/status")["nodes"]
    busiest = max(rows, key=lambda row: row["leaders"])
    return next(node for node in cluster.nodes if node.address == busiest["api_addr"])


def test_everything_goes_on_when_leaders_are_killed(cluster):
    client = cluster.nodes[0].dynamodb()
    client.create_table(
        TableName=TABLE,
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind in (("pk", "S"), ("sk", "N"), ("rank", "N"))],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        LocalSecondaryIndexes=[
            {
                "IndexName": "ByRank",
                "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "rank", "KeyType": "RANGE"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    for node in cluster.nodes:
        eventually("the table is active", 30, lambda node=node: node.dynamodb().describe_table(TableName=TABLE)["Table"]["TableStatus"] == "ACTIVE")
    stop = threading.Event()
    workers = [Worker(number, cluster.nodes, stop) for number in range(WORKERS)]
    for worker in workers:
        worker.start()
    killed = []
    for _ in range(2):
        time.sleep(3)
        victim = leader(cluster)
        killed.append(victim.name)
        victim.kill()
        time.sleep(4)
        victim.start().wait_ready()
        cluster.wait_whole()
    time.sleep(2)
    stop.set()
    for worker in workers:
        worker.join(30)
        assert not worker.is_alive()
    counts: dict = {}
    for worker in workers:
        for name, count in worker.counts.items():
            counts[name] = counts.get(name, 0) + count
    print(f"\nkilled {killed}; " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    print(
        f"in doubt: {sum(worker.ambiguous for worker in workers)}; longest wait for an answer: {max(worker.longest for worker in workers):.2f} s; "
        f"items: {sum(len(worker.items) for worker in workers)}"
    )
    for worker in workers:
        if worker.error is not None:
            raise worker.error
    assert len(counts) == 13, "an operation never ran"
    # A doubtful write may still be on its way for as long as a request may take.
    time.sleep(1)
    for worker, node in zip(workers, cluster.nodes * 2):
        worker.check_all(node.dynamodb())
    cluster.assert_replicas_equal()
