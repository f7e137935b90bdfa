"""Random requests over a few small tables, so that they hit the same items again and again."""

import json

NAMES = ["a", "b", "c", "l", "n", "size", "name", "a-b"]
STRINGS = ["", "a", "ab", "abc", "b", "ü", "z"]
NUMBERS = ["0", "1", "-1", "2.5", "10", "1e3", "-0.001", "123456789012345678901234567890", "1E-20"]
COMPARATORS = ["=", "<>", "<", "<=", ">", ">="]


class World:
    def __init__(self, rng, prefix):
        self.rng = rng
        self.hash, self.range, self.indexed = (prefix + kind for kind in ("hash", "range", "indexed"))

    def tables(self):
        def table(name, keys, indexes=()):
            attributes = [("p", "S")] + [(key, "S" if key == "l" else "N") for key in keys[1:]]
            attributes += [(key, "S") for _, key, _ in indexes]
            out = {
                "TableName": name,
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [{"AttributeName": n, "AttributeType": t} for n, t in attributes],
                "KeySchema": schema(keys),
            }
            if indexes:
                out["LocalSecondaryIndexes"] = [
                    {"IndexName": index, "KeySchema": schema(["p", key]), "Projection": projection}
                    for index, key, projection in indexes
                ]
            return out

        def schema(keys):
            roles = ["HASH", "RANGE"]
            return [{"AttributeName": key, "KeyType": role} for key, role in zip(keys, roles)]

        include = {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["a"]}
        return [
            table(self.hash, ["p"]),
            table(self.range, ["p", "r"]),
            table(self.indexed, ["p", "r"], [("all", "l", {"ProjectionType": "ALL"}), ("some", "c", include)]),
        ]

    # Values

    def value(self, depth=0):
        rng = self.rng
        kind = rng.choice(["S", "S", "N", "N", "B", "BOOL", "NULL", "SS", "NS", "L", "M"])
        if depth > 2 and kind in "LM":
            kind = "S"
        if rng.random() < 0.01:
            return rng.choice([{}, {"S": "a", "N": "1"}, {"N": "x"}, {"SS": []}, {"NS": ["1", "1.0"]}, {"NULL": False}, {"N": "1e200"}])
        if kind == "S":
            return {"S": rng.choice(STRINGS)}
        if kind == "N":
            return {"N": rng.choice(NUMBERS)}
        if kind == "B":
            return {"B": rng.choice(["", "YQ==", "YWI=", "/w=="])}
        if kind == "BOOL":
            return {"BOOL": rng.random() < 0.5}
        if kind == "NULL":
            return {"NULL": True}
        if kind == "SS":
            return {"SS": rng.sample(STRINGS[1:], rng.randint(1, 3))}
        if kind == "NS":
            return {"NS": rng.sample(NUMBERS, rng.randint(1, 3))}
        if kind == "L":
            return {"L": [self.value(depth + 1) for _ in range(rng.randint(0, 3))]}
        return {"M": {name: self.value(depth + 1) for name in rng.sample(NAMES, rng.randint(0, 3))}}

    def key(self, table):
        rng = self.rng
        key = {"p": {"S": rng.choice(["k1", "k2", "k3"])}}
        if table != self.hash:
            key["r"] = {"N": rng.choice(["1", "2", "3", "-4", "5.5"])}
        if rng.random() < 0.02:
            rng.choice([lambda: key.popitem(), lambda: key.update(x={"S": "a"}), lambda: key.update(p={"N": "1"}), lambda: key.update(p={"S": ""})])()
        return key

    def item(self, table):
        item = self.key(table)
        for name in self.rng.sample(NAMES, self.rng.randint(0, 5)):
            value = self.value()
            if table == self.indexed and name in ("l", "c") and self.rng.random() < 0.97:
                value = {"S": self.rng.choice(STRINGS[1:])}
            item[name] = value
        return item

    # Expressions: each keeps what it named and used, so that most are valid.

    def request(self):
        self.names, self.values = {}, {}
        operations = ["PutItem"] * 4 + ["UpdateItem"] * 6 + ["DeleteItem", "GetItem"] + ["Query"] * 4
        operations += ["Scan"] * 2 + ["BatchGetItem", "BatchWriteItem"]
        operation = self.rng.choice(operations)
        table = self.rng.choice([self.hash, self.range, self.indexed])
        body = getattr(self, operation)(table)
        if self.names and "Batch" not in operation:
            body["ExpressionAttributeNames"] = self.names
        if self.values:
            body["ExpressionAttributeValues"] = self.values
        if self.rng.random() < 0.02:
            body["ExpressionAttributeValues"] = dict(self.values, **{":unused": {"S": "a"}})
        if self.rng.random() < 0.15:
            body["ReturnConsumedCapacity"] = self.rng.choice(["TOTAL", "INDEXES", "NONE"])
        return operation, body

    def name(self):
        name = self.rng.choice(NAMES)
        if name in ("size", "name", "a-b") or self.rng.random() < 0.2:
            placeholder = "#" + name.replace("-", "_")
            if self.rng.random() < 0.99:
                self.names[placeholder] = name
            return placeholder
        return name

    def path(self):
        path = self.name()
        while self.rng.random() < 0.25:
            path += self.rng.choice([f"[{self.rng.randint(0, 3)}]", "." + self.name()])
        if self.rng.random() < 0.02:
            path = self.rng.choice(["p", "p.a", "r", "l[0]", "select"])
        return path

    def literal(self, value=None):
        name = f":v{len(self.values)}"
        if self.rng.random() < 0.995:
            self.values[name] = value or self.value()
        return name

    def operand(self):
        choice = self.rng.random()
        if choice < 0.5:
            return self.path()
        if choice < 0.9:
            return self.literal()
        return f"size({self.path()})"

    def condition(self, depth=0):
        rng = self.rng
        choice = rng.randint(0, 11 if depth < 3 else 8)
        if choice <= 2:
            return f"{self.operand()} {rng.choice(COMPARATORS)} {self.operand()}"
        if choice == 3:
            return f"attribute_exists({self.path()})"
        if choice == 4:
            return f"attribute_not_exists({self.path()})"
        if choice == 5:
            kind = {"S": rng.choice(["S", "N", "SS", "M", "NULL", "X"])}
            return f"attribute_type({self.path()}, {self.literal(kind)})"
        if choice == 6:
            return f"{rng.choice(['begins_with', 'contains'])}({self.path()}, {self.literal()})"
        if choice == 7:
            return f"{self.operand()} IN ({', '.join(self.operand() for _ in range(rng.randint(1, 3)))})"
        if choice == 8:
            return f"{self.operand()} BETWEEN {self.operand()} AND {self.operand()}"
        if choice == 9:
            return f"NOT {self.condition(depth + 1)}"
        if choice == 10:
            return f"({self.condition(depth + 1)})"
        return f"{self.condition(depth + 1)} {rng.choice(['AND', 'OR'])} {self.condition(depth + 1)}"

    def set_value(self):
        rng = self.rng
        operand = lambda: rng.choice(
            [
                lambda: self.path(),
                lambda: self.literal(),
                lambda: self.literal({"N": rng.choice(NUMBERS)}),
                lambda: f"if_not_exists({self.path()}, {self.literal()})",
                lambda: f"list_append({rng.choice([self.path, self.literal])()}, {self.literal({'L': [self.value(2)]})})",
            ]
        )()
        return operand() if rng.random() < 0.7 else f"{operand()} {rng.choice('+-')} {operand()}"

    def update(self):
        rng = self.rng
        clauses = []
        for clause in rng.sample(["SET", "REMOVE", "ADD", "DELETE"], rng.choice([1, 1, 1, 2])):
            actions = []
            for _ in range(rng.choice([1, 1, 2])):
                path = self.path()
                if clause == "SET":
                    actions.append(f"{path} = {self.set_value()}")
                elif clause == "REMOVE":
                    actions.append(path)
                else:
                    good = {"SS": ["a", "b"]} if rng.random() < 0.4 else {"N": "3"} if clause == "ADD" else {"NS": ["1"]}
                    actions.append(f"{path} {self.literal(good if rng.random() < 0.8 else None)}")
            clauses.append(f"{clause} {', '.join(actions)}")
        return " ".join(clauses)

    def projection(self):
        return ", ".join(self.path() for _ in range(self.rng.randint(1, 3)))

    # Operations

    def guarded(self, body):
        rng = self.rng
        if rng.random() < 0.4:
            body["ConditionExpression"] = self.condition()
            if rng.random() < 0.3:
                body["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        return body

    def PutItem(self, table):
        body = {"TableName": table, "Item": self.item(table)}
        if self.rng.random() < 0.3:
            body["ReturnValues"] = self.rng.choice(["ALL_OLD", "NONE", "ALL_NEW"])
        return self.guarded(body)

    def DeleteItem(self, table):
        body = {"TableName": table, "Key": self.key(table)}
        if self.rng.random() < 0.5:
            body["ReturnValues"] = self.rng.choice(["ALL_OLD", "NONE"])
        return self.guarded(body)

    def UpdateItem(self, table):
        body = {"TableName": table, "Key": self.key(table)}
        if self.rng.random() < 0.97:
            body["UpdateExpression"] = self.update()
        if self.rng.random() < 0.7:
            body["ReturnValues"] = self.rng.choice(["ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW", "NONE"])
        return self.guarded(body)

    def GetItem(self, table):
        body = {"TableName": table, "Key": self.key(table), "ConsistentRead": True}
        if self.rng.random() < 0.5:
            body["ProjectionExpression"] = self.projection()
        return body

    def Query(self, table):
        rng = self.rng
        body = {"TableName": table, "ConsistentRead": True}
        sort, kind = "r", {"N": rng.choice(["1", "2", "3", "-4"])}
        if table == self.indexed and rng.random() < 0.5:
            body["IndexName"], sort = rng.choice([("all", "l"), ("some", "c")])
            kind = {"S": rng.choice(STRINGS[1:])}
        expression = f"p = {self.literal({'S': rng.choice(['k1', 'k2', 'k3'])})}"
        if table != self.hash and rng.random() < 0.5:
            if rng.random() < 0.05:
                kind = self.value()
            more = rng.choice(
                [f"{sort} {rng.choice(COMPARATORS)} %s", f"{sort} BETWEEN %s AND %s", f"begins_with({sort}, %s)"]
            )
            while "%s" in more:
                more = more.replace("%s", self.literal(kind), 1)
            expression += " AND " + more
        body["KeyConditionExpression"] = expression
        if rng.random() < 0.3:
            body["FilterExpression"] = self.condition()
        if rng.random() < 0.3:
            body["ProjectionExpression"] = self.projection()
        elif rng.random() < 0.2:
            body["Select"] = rng.choice(["COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES", "SPECIFIC_ATTRIBUTES"])
        if rng.random() < 0.4:
            body["ScanIndexForward"] = rng.random() < 0.5
        if rng.random() < 0.3:
            body["Limit"] = rng.choice([0, 1, 2, 5])
        return body

    def Scan(self, table):
        body = {"TableName": table, "ConsistentRead": True}
        if table == self.indexed and self.rng.random() < 0.4:
            body["IndexName"] = self.rng.choice(["all", "some"])
        if self.rng.random() < 0.6:
            body["FilterExpression"] = self.condition()
        if self.rng.random() < 0.3:
            body["ProjectionExpression"] = self.projection()
        return body

    def BatchGetItem(self, table):
        keys = [self.key(table) for _ in range(self.rng.randint(1, 3))]
        return {"RequestItems": {table: {"Keys": keys, "ConsistentRead": True}}}

    def BatchWriteItem(self, table):
        writes = []
        for _ in range(self.rng.randint(1, 3)):
            put = {"PutRequest": {"Item": self.item(table)}}
            writes.append(put if self.rng.random() < 0.6 else {"DeleteRequest": {"Key": self.key(table)}})
        return {"RequestItems": {table: writes}}

    # After a difference

    def repair(self, body, source, target):
        """Makes the items that a request was about on `target` those of `source`."""
        for table in [body["TableName"]] if "TableName" in body else list(body.get("RequestItems", {})):
            names = ["p"] if table == self.hash else ["p", "r"]
            have = {}
            for side in (source, target):
                _, answer = side.call("Scan", {"TableName": table, "ConsistentRead": True})
                for item in answer.get("Items", []):
                    key = json.dumps({name: item[name] for name in names}, sort_keys=True)
                    have.setdefault(key, {})[side] = item
            for key, sides in have.items():
                if source not in sides:
                    target.call("DeleteItem", {"TableName": table, "Key": json.loads(key)})
                    continue
                if sides.get(target) == sides[source]:
                    continue
                status, _ = target.call("PutItem", {"TableName": table, "Item": sides[source]})
                if status != 200:
                    # What one side refuses to hold goes on both.
                    for side in (source, target):
                        side.call("DeleteItem", {"TableName": table, "Key": json.loads(key)})
