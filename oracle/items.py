"""Requests of the data operations."""

import json

from expressions import COMPARATORS
from legacy import Legacy

SELECTS = ["COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES", "SPECIFIC_ATTRIBUTES"]


class Table:
    """A table of the run. `keys` are (name, type); `indexes` are (name, sort attribute, its type, projection), the local ones;
    `global_indexes` are (name, keys, projection)."""

    def __init__(self, name, keys, indexes=(), global_indexes=()):
        self.name, self.keys, self.indexes, self.global_indexes = name, keys, indexes, global_indexes

    def indexed(self):
        """The attributes of index keys that are not of the table's key, with their types."""
        out = {key: kind for _, key, kind, _ in self.indexes}
        for _, keys, _ in self.global_indexes:
            out.update(keys)
        return {name: kind for name, kind in out.items() if name not in dict(self.keys)}

    def creation(self):
        def schema(keys):
            return [{"AttributeName": key, "KeyType": role} for key, role in zip(keys, ["HASH", "RANGE"])]

        attributes = list(self.keys) + list(self.indexed().items())
        out = {
            "TableName": self.name,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": n, "AttributeType": t} for n, t in attributes],
            "KeySchema": schema([name for name, _ in self.keys]),
        }
        if self.indexes:
            out["LocalSecondaryIndexes"] = [
                {"IndexName": index, "KeySchema": schema([self.keys[0][0], key]), "Projection": projection}
                for index, key, _, projection in self.indexes
            ]
        if self.global_indexes:
            out["GlobalSecondaryIndexes"] = [
                {"IndexName": index, "KeySchema": schema([name for name, _ in keys]), "Projection": projection} for index, keys, projection in self.global_indexes
            ]
        return out


class Items(Legacy):
    def key_value(self, kind, name):
        rng = self.rng
        if rng.random() < 0.01:
            length = rng.choice([1023, 1024, 1025, 2047, 2048, 2049])
            return {"S": "k" * length} if kind == "S" else self.value()
        if kind == "S":
            return {"S": rng.choice(["k1", "k2", "k3"] if name == "p" else ["a", "ab", "abc", "ü", "z"])}
        if kind == "N":
            return {"N": rng.choice(["1", "2", "3", "-4", "5.5", "1e2", "-1e-5"])}
        return {"B": rng.choice(["YQ==", "YWI=", "/w==", "AAA="])}

    # Attributes that stand for something large in an update.
    LARGE = [900, 1010, 4000, 409_000, 409_500, 409_560, 409_570, 409_580, 409_590, 409_600]

    def key(self, table):
        rng = self.rng
        key = {name: self.key_value(kind, name) for name, kind in table.keys}
        if rng.random() < 0.02:
            rng.choice([lambda: key.popitem(), lambda: key.update(x={"S": "a"}), lambda: key.update(p={"N": "1"}), lambda: key.update(p={"S": ""}),
                lambda: key.update(p=self.value()), lambda: key.clear(), lambda: key.update({table.keys[-1][0]: self.value()})])()
        return key

    def believed(self, table, key=None):
        """What the item is believed to be; without a key, any of the table."""
        every = self.seen.get(table.name, {})
        if key is None:
            return self.rng.choice(list(every.values())) if every else {}
        return every.get(self.identity(table, key), {})

    @staticmethod
    def identity(table, item):
        return json.dumps([item.get(name) for name, _ in table.keys])

    def about(self, table):
        """A key, and `current` set to what is believed to be there."""
        key = self.key(table)
        if self.rng.random() < 0.5:
            some = self.believed(table)
            key = {name: some[name] for name, _ in table.keys} if some else key
        self.current = self.believed(table, key)
        return key

    def note(self, table, operation, body, answer):
        """Takes note of what DynamoDB Local answered."""
        every = self.seen.setdefault(table.name, {})
        if operation == "PutItem":
            every[self.identity(table, body["Item"])] = body["Item"]
        elif operation == "DeleteItem":
            every.pop(self.identity(table, body["Key"]), None)
        elif operation == "UpdateItem" and body.get("ReturnValues") == "ALL_NEW" and "Attributes" in answer:
            every[self.identity(table, body["Key"])] = answer["Attributes"]
        elif operation == "GetItem" and not {"ProjectionExpression", "AttributesToGet"} & set(body) and "Item" in answer:
            every[self.identity(table, body["Key"])] = answer["Item"]

    def item(self, table):
        item = self.about(table)
        indexed = table.indexed()
        for name in self.rng.sample(self.attributes, self.rng.randint(0, 5)):
            value = self.document() if self.rng.random() < 0.15 else self.value()
            if name in indexed and self.rng.random() < 0.97:
                value = self.key_value(indexed[name], name)
            item[name] = value
        if self.rng.random() < 0.005:
            # Around the size at which another unit is charged, and around the largest item.
            item["big"] = {"S": "x" * self.rng.choice([900, 1000, 1010, 2030, 4000, 4090, 409_500, 409_590, 409_600])}
        return item

    def returns(self, body):
        rng = self.rng
        if rng.random() < 0.15:
            body["ReturnConsumedCapacity"] = rng.choice(["TOTAL", "INDEXES", "INDEXES", "NONE", "ALL"])
        if rng.random() < 0.05:
            body["ReturnItemCollectionMetrics"] = rng.choice(["SIZE", "SIZE", "NONE", "ALL"])

    def guarded(self, body):
        rng = self.rng
        if rng.random() < 0.4:
            body["ConditionExpression"] = self.condition()
            if rng.random() < 0.3:
                body["ReturnValuesOnConditionCheckFailure"] = rng.choice(["ALL_OLD", "ALL_OLD", "NONE", "ALL_NEW"])
        return body

    def PutItem(self, table):
        body = {"TableName": table.name, "Item": self.item(table)}
        if self.rng.random() < 0.3:
            body["ReturnValues"] = self.rng.choice(["ALL_OLD", "ALL_OLD", "NONE", "ALL_NEW", "UPDATED_NEW", "OLD"])
        return self.guarded(body)

    def DeleteItem(self, table):
        body = {"TableName": table.name, "Key": self.about(table)}
        if self.rng.random() < 0.5:
            body["ReturnValues"] = self.rng.choice(["ALL_OLD", "ALL_OLD", "NONE", "UPDATED_OLD"])
        return self.guarded(body)

    def UpdateItem(self, table):
        body = {"TableName": table.name, "Key": self.about(table)}
        if self.rng.random() < 0.97:
            body["UpdateExpression"] = self.update()
        if self.rng.random() < 0.005:
            # Around the largest item, by an update.
            body["UpdateExpression"] = f"SET big = {self.literal({'S': 'x' * self.rng.choice(self.LARGE)})}"
        if self.rng.random() < 0.7:
            body["ReturnValues"] = self.rng.choice(["ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW", "NONE"])
        return self.guarded(body)

    def GetItem(self, table):
        body = {"TableName": table.name, "Key": self.about(table), "ConsistentRead": self.rng.random() < 0.7}
        if self.rng.random() < 0.5:
            body["ProjectionExpression"] = self.projection()
        return body

    def Query(self, table):
        rng = self.rng
        body = {"TableName": table.name, "ConsistentRead": rng.random() < 0.7}
        self.current = self.believed(table)
        sort = table.keys[1] if len(table.keys) > 1 else None
        if table.indexes and rng.random() < 0.5:
            body["IndexName"], name, kind, _ = rng.choice(table.indexes)
            sort = (name, kind)
        partition, kind = table.keys[0]
        if table.global_indexes and rng.random() < 0.6:
            body["IndexName"], keys, _ = rng.choice(table.global_indexes)
            if rng.random() < 0.95:
                body["ConsistentRead"] = False
            (partition, kind), sort = keys[0], keys[1] if len(keys) > 1 else None
        if rng.random() < 0.005:
            body["IndexName"] = rng.choice(["none", "a", "a b"])
        expression = [partition, "=", self.literal(self.key_value(kind, partition))]
        if rng.random() < 0.1:
            expression.reverse()
        expression = " ".join(expression)
        if sort and rng.random() < 0.5:
            operand = lambda: self.literal(self.key_value(sort[1], sort[0]) if rng.random() < 0.95 else self.value())
            name = sort[0]
            more = rng.choice([
                lambda: f"{name} {rng.choice(COMPARATORS)} {operand()}", lambda: f"{name} BETWEEN {operand()} AND {operand()}",
                lambda: f"begins_with({name}, {operand()})", lambda: f"{operand()} {rng.choice(COMPARATORS)} {name}",
                lambda: f"({name} {rng.choice(COMPARATORS)} {operand()})",
            ])()
            expression = f"{expression} AND {more}" if rng.random() < 0.85 else f"{more} AND {expression}"
        if rng.random() < 0.01:
            expression += rng.choice([" AND a = a", " OR p = r", " AND attribute_exists(a)", " AND NOT r = a", " AND p = p", " AND r.a = p", " AND contains(r, p)", " AND size(r) = p"])
        body["KeyConditionExpression"] = expression
        self.what(body)
        if rng.random() < 0.4:
            body["ScanIndexForward"] = rng.random() < 0.5
        if rng.random() < 0.4:
            body["Limit"] = rng.choice([1, 1, 2, 2, 3, 5, 0, -1])
        return body

    def what(self, body):
        """Filter, projection and Select of a query or scan."""
        rng = self.rng
        if rng.random() < 0.3:
            body["FilterExpression"] = self.condition()
        if rng.random() < 0.3:
            body["ProjectionExpression"] = self.projection()
        if rng.random() < 0.2:
            body["Select"] = rng.choice(SELECTS)

    def start_key(self, table, body, last):
        """A query goes on after the page before, or from a key that was tampered with."""
        rng = self.rng
        key = dict(last) if last else self.key(table)
        for name, attribute, kind, _ in table.indexes:
            if body.get("IndexName") == name:
                key.setdefault(attribute, self.key_value(kind, attribute))
        for name, keys, _ in table.global_indexes:
            if body.get("IndexName") == name:
                for attribute, kind in keys:
                    key.setdefault(attribute, self.key_value(kind, attribute))
        if rng.random() < 0.4:
            name = rng.choice(list(key) or ["p"])
            rng.choice([
                lambda: key.pop(name, None), lambda: key.update(x={"S": "a"}), lambda: key.update({name: self.value()}), lambda: key.update({name: self.key_value("S", name)}),
                lambda: key.update({name: self.key_value("N", name)}), lambda: key.clear(), lambda: key.update({table.keys[-1][0]: self.key_value(table.keys[-1][1], "r")}),
            ])()
        body["ExclusiveStartKey"] = key

    def Scan(self, table):
        rng = self.rng
        body = {"TableName": table.name, "ConsistentRead": rng.random() < 0.7}
        self.current = self.believed(table)
        if table.indexes and rng.random() < 0.3:
            body["IndexName"] = rng.choice(table.indexes)[0]
        if table.global_indexes and rng.random() < 0.4:
            body["IndexName"], body["ConsistentRead"] = rng.choice(table.global_indexes)[0], rng.random() < 0.05
        self.what(body)
        if rng.random() < 0.03:
            body["Segment"], body["TotalSegments"] = rng.choice([(0, 1), (1, 1), (-1, 2), (0, 0), (0, 1000001), (1000000, 1000000), (5, 2)])
            if rng.random() < 0.3:
                del body[rng.choice(["Segment", "TotalSegments"])]
        if rng.random() < 0.03:
            self.start_key(table, body, {})
            # Where a scan goes on is its own affair, so only those that are refused can be compared.
            body["ExclusiveStartKey"]["x"] = {"S": "a"}
        return body

    def walk(self, table):
        """A scan by pages or segments: what order it has is its own affair, so that only all pages together can be compared."""
        rng = self.rng
        body = self.Scan(table)
        for name in ("Segment", "TotalSegments", "ExclusiveStartKey"):
            body.pop(name, None)
        if rng.random() < 0.5:
            body["TotalSegments"] = rng.randint(1, 5)
        if rng.random() < 0.7:
            body["Limit"] = rng.randint(1, 7)
        return body

    def BatchGetItem(self, table):
        rng = self.rng
        request = {"Keys": [self.about(table) if rng.random() < 0.4 else self.key(table) for _ in range(rng.randint(1, 3))], "ConsistentRead": rng.random() < 0.7}
        if rng.random() < 0.3:
            request["ProjectionExpression"] = self.projection()
            if self.names:
                request["ExpressionAttributeNames"] = self.names
        out = {table.name: request}
        if rng.random() < 0.2:
            other = rng.choice(self.data_tables)
            out.setdefault(other.name, {"Keys": [self.key(other)]})
        if rng.random() < 0.01:
            rng.choice([lambda: request.update(Keys=[]), lambda: out.clear(), lambda: out.update({"ab": {"Keys": [{"a": {"S": "a"}}]}}),
                lambda: request.update(Keys=[{"p": {"S": f"k{at}"}} for at in range(rng.choice([100, 101]))]), lambda: out.update({"none": {"Keys": [{"a": {"S": "a"}}]}})])()
        return {"RequestItems": out}

    def BatchWriteItem(self, table):
        rng = self.rng
        out = {}
        for target in [table] + [rng.choice(self.data_tables)] * (rng.random() < 0.2):
            writes = out.setdefault(target.name, [])
            for _ in range(rng.randint(1, 3)):
                put = {"PutRequest": {"Item": self.item(target)}}
                writes.append(put if rng.random() < 0.6 else {"DeleteRequest": {"Key": self.key(target)}})
        if rng.random() < 0.01:
            rng.choice([lambda: out.update({table.name: []}), lambda: out.clear(), lambda: out.update({"none": [{"DeleteRequest": {"Key": {"a": {"S": "a"}}}}]}),
                lambda: out.update({table.name: [{"DeleteRequest": {"Key": {"p": {"S": f"k{at}"}}}} for at in range(rng.choice([25, 26]))]}),
                lambda: out[table.name].append({}), lambda: out[table.name][0].update({"DeleteRequest": {"Key": self.key(table)}, "PutRequest": {"Item": self.item(table)}})])()
        return {"RequestItems": out}
