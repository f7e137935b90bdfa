"""Random requests over a few small tables, so that they hit the same items again and again."""

import json

from items import Items, Table
from lifecycle import Lifecycle
from malformed import broken
from raw import raw
from values import NAMES

OPERATIONS = ["PutItem"] * 4 + ["UpdateItem"] * 6 + ["DeleteItem", "GetItem"] + ["Query"] * 5 + ["Scan"] * 2 + ["BatchGetItem", "BatchWriteItem"]


class World(Items):
    """The requests of one run: a generator of random choices and what it must remember."""

    def __init__(self, rng, prefix):
        self.rng = rng
        include = {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["a"]}
        every, keys = {"ProjectionType": "ALL"}, {"ProjectionType": "KEYS_ONLY"}
        self.data_tables = [
            Table(prefix + "hash", [("p", "S")]),
            Table(prefix + "range", [("p", "S"), ("r", "N")]),
            Table(prefix + "indexed", [("p", "S"), ("r", "N")], [("all", "l", "S", every), ("some", "c", "S", include)]),
            Table(prefix + "numbered", [("p", "N"), ("r", "B")], [("keys", "n", "N", keys)]),
            Table(prefix + "strings", [("p", "B"), ("r", "S")]),
        ]
        by_l = [("gall", [("l", "S")], every), ("gsorted", [("l", "S"), ("n", "N")], keys), ("gturned", [("r", "N"), ("p", "S")], include)]
        self.data_tables.append(Table(prefix + "global", [("p", "S"), ("r", "N")], [], by_l))
        self.data_tables.append(Table(prefix + "both", [("p", "S"), ("r", "N")], [("all", "l", "S", every)], [("gsome", [("c", "S"), ("r", "N")], include)]))
        sparse = [("gbinary", [("b", "B")], every), ("gnumber", [("n", "N"), ("c", "B")], {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["a", "size", "l"]}), ("gkeys", [("p", "N")], keys)]
        self.data_tables.append(Table(prefix + "sparse", [("p", "N")], [], sparse))
        self.attributes = NAMES
        self.lifecycle = Lifecycle(rng, prefix)
        self.pages, self.seen, self.current, self.believing = {}, {}, {}, True

    def tables(self):
        return [table.creation() for table in self.data_tables]

    def request(self, about):
        """(operation, body); `Walk` is a scan of all pages."""
        rng = self.rng
        if about == "tables" or (about == "all" and rng.random() < 0.04):
            return self.lifecycle.request()
        self.names, self.values, self.current, self.believing = {}, {}, {}, True
        table = rng.choice(self.data_tables)
        if rng.random() < 0.02:
            body = self.walk(table)
            self.placeholders("Scan", body)
            return "Walk", body
        operation = rng.choice(OPERATIONS)
        legacy = rng.random() < 0.2 and hasattr(self, "legacy_" + operation)
        body = getattr(self, ("legacy_" if legacy else "") + operation)(table)
        if operation == "Query" and self.is_global(table, body) and body.get("Limit", 0) > 0 and about != "raw":
            # Rows with the same key have no order, so that only all pages together can be compared.
            self.placeholders(operation, body)
            return "Walk", body
        if operation == "Query" and rng.random() < 0.15:
            self.start_key(table, body, None)
        if rng.random() < 0.01:
            self.mixed(body)
        self.placeholders(operation, body)
        self.returns(body)
        if operation == "Query" and rng.random() < 0.15 and (table.name, operation) in self.pages:
            # The next page of a query that ended early.
            body, last = self.pages[table.name, operation]
            body = dict(body)
            self.start_key(table, body, last)
        if rng.random() < {"malformed": 0, "raw": 1, "items": 0}.get(about, 0.02):
            self.believing = False
            return operation, raw(rng, body)
        if rng.random() < {"malformed": 1, "items": 0}.get(about, 0.04):
            body = broken(rng, body)
            # Whatever becomes of it, nothing is believed of what it wrote.
            self.believing = False
        return operation, body

    @staticmethod
    def is_global(table, body):
        return any(name == body.get("IndexName") for name, _, _ in table.global_indexes)

    def reads_global(self, body):
        """Whether a request reads an index that follows its table a moment later."""
        return any(table.name == body.get("TableName") and self.is_global(table, body) for table in self.data_tables)

    def placeholders(self, operation, body):
        if self.names and "Batch" not in operation:
            body.setdefault("ExpressionAttributeNames", self.names)
        if self.values:
            body.setdefault("ExpressionAttributeValues", self.values)
        if self.rng.random() < 0.02:
            body["ExpressionAttributeValues"] = dict(self.values, **{":unused": {"S": "a"}})
        if self.rng.random() < 0.005 and "Batch" not in operation:
            body["ExpressionAttributeNames"] = dict(self.names, **{"#unused": "a"})

    def observe(self, operation, body, status, answer):
        """Takes note of what DynamoDB Local answered."""
        self.lifecycle.observe(operation, body, status, answer)
        if operation == "Query" and status == 200 and "LastEvaluatedKey" in answer:
            self.pages[body["TableName"], operation] = (body, answer["LastEvaluatedKey"])
        for table in self.data_tables:
            if status == 200 and self.believing and body.get("TableName") == table.name:
                self.note(table, operation, body, answer)

    def key_of(self, body):
        """The key of the item that a write was about."""
        for table in self.data_tables:
            if body.get("TableName") == table.name:
                given = body.get("Key") or body["Item"]
                return {name: given[name] for name, _ in table.keys} if self.believing else None
        return None

    # After a difference

    def repair(self, body, source, target):
        """Makes the items that a request was about on `target` those of `source`."""
        named = body.get("RequestItems")
        named = [body.get("TableName")] if "TableName" in body else list(named) if isinstance(named, dict) else []
        for table in self.data_tables:
            if table.name not in named:
                continue
            names = [name for name, _ in table.keys]
            have = {}
            for side in (source, target):
                page = {"TableName": table.name, "ConsistentRead": True}
                while True:
                    _, answer = side.call("Scan", page)
                    for item in answer.get("Items", []):
                        key = json.dumps({name: item[name] for name in names}, sort_keys=True)
                        have.setdefault(key, {})[side] = item
                    if "LastEvaluatedKey" not in answer:
                        break
                    page["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
            for key, sides in have.items():
                if source not in sides:
                    target.call("DeleteItem", {"TableName": table.name, "Key": json.loads(key)})
                    continue
                if sides.get(target) == sides[source]:
                    continue
                status, _ = target.call("PutItem", {"TableName": table.name, "Item": sides[source]})
                if status != 200:
                    # What one side refuses to hold goes on both.
                    for side in (source, target):
                        side.call("DeleteItem", {"TableName": table.name, "Key": json.loads(key)})
