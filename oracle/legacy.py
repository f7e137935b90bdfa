"""The parameters from before expressions."""

from expressions import Expressions
from values import NAMES


class Legacy(Expressions):
    def legacy_condition(self, expected=False):
        rng = self.rng
        operator = rng.choice(["EQ", "NE", "LE", "LT", "GE", "GT", "NOT_NULL", "NULL", "CONTAINS", "NOT_CONTAINS", "BEGINS_WITH", "IN", "BETWEEN"])
        if expected and rng.random() < 0.4:
            return rng.choice([{"Exists": False}, {"Value": self.value()}, {"Exists": True, "Value": self.value()}, {"Exists": True}, {"Exists": False, "Value": self.value()}, {}])
        count = {"NOT_NULL": 0, "NULL": 0, "IN": rng.randint(1, 3), "BETWEEN": 2}.get(operator, 1)
        if rng.random() < 0.03:
            count = rng.randint(0, 3)
        out = {"ComparisonOperator": operator if rng.random() < 0.995 else "LIKE"}
        if expected and count == 1 and rng.random() < 0.3:
            out["Value"] = self.value()
        elif count:
            same = self.scalar(rng.choice("SNB"))
            out["AttributeValueList"] = [same if rng.random() < 0.3 else self.value(2) for _ in range(count)]
        return out

    def legacy_conditions(self, expected=False):
        return {name: self.legacy_condition(expected) for name in self.rng.sample(NAMES, self.rng.randint(1, 2))}

    def operator(self, body):
        if self.rng.random() < 0.3:
            body["ConditionalOperator"] = self.rng.choice(["AND", "OR"])
        return body

    def legacy_PutItem(self, table):
        return self.operator({"TableName": table.name, "Item": self.item(table), "Expected": self.legacy_conditions(True)})

    def legacy_DeleteItem(self, table):
        return self.operator({"TableName": table.name, "Key": self.about(table), "Expected": self.legacy_conditions(True)})

    def legacy_UpdateItem(self, table):
        rng = self.rng
        updates = {}
        for name in rng.sample(NAMES, rng.randint(1, 3)):
            action = rng.choice(["PUT", "PUT", "ADD", "DELETE", None])
            update = {"Action": action} if action else {}
            if action != "DELETE" or rng.random() < 0.4:
                update["Value"] = rng.choice([self.value(), {"N": "2"}, {"SS": ["a", "b"]}, {"L": [{"N": "1"}]}])
            updates[name] = update
        body = {"TableName": table.name, "Key": self.about(table), "AttributeUpdates": updates}
        if rng.random() < 0.6:
            body["ReturnValues"] = rng.choice(["ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW"])
        if rng.random() < 0.3:
            body["Expected"] = self.legacy_conditions(True)
            self.operator(body)
        return body

    def legacy_GetItem(self, table):
        return {"TableName": table.name, "Key": self.about(table), "ConsistentRead": True, "AttributesToGet": self.rng.choices(NAMES, k=2)}

    def legacy_Query(self, table):
        rng = self.rng
        body = {"TableName": table.name, "ConsistentRead": True}
        (partition, kind), sort = table.keys[0], table.keys[1] if len(table.keys) > 1 else None
        if table.indexes and rng.random() < 0.4:
            body["IndexName"], sort, sort_kind = rng.choice(table.indexes)[:3]
            sort = (sort, sort_kind)
        if table.global_indexes and rng.random() < 0.5:
            body["IndexName"], keys, _ = rng.choice(table.global_indexes)
            body["ConsistentRead"] = rng.random() < 0.05
            (partition, kind), sort = keys[0], keys[1] if len(keys) > 1 else None
        conditions = {partition: {"ComparisonOperator": "EQ", "AttributeValueList": [self.key_value(kind, partition)]}}
        if sort and rng.random() < 0.6:
            operator = rng.choice(["EQ", "LE", "LT", "GE", "GT", "BETWEEN", "BEGINS_WITH", "NE", "IN"])
            values = [self.key_value(sort[1], sort[0]) for _ in range(2 if operator == "BETWEEN" else 1)]
            conditions[sort[0]] = {"ComparisonOperator": operator, "AttributeValueList": values}
        body["KeyConditions"] = conditions
        if rng.random() < 0.4:
            body["QueryFilter"] = self.legacy_conditions()
            self.operator(body)
        if rng.random() < 0.1:
            body["AttributesToGet"] = rng.choices(NAMES, k=2)
        return body

    def legacy_Scan(self, table):
        body = {"TableName": table.name, "ConsistentRead": True, "ScanFilter": self.legacy_conditions()}
        if (table.indexes or table.global_indexes) and self.rng.random() < 0.4:
            body["IndexName"] = self.rng.choice([*table.indexes, *table.global_indexes])[0]
            body["ConsistentRead"] = not self.is_global(table, body)
        if self.rng.random() < 0.1:
            body["AttributesToGet"] = self.rng.choices(NAMES, k=2)
        return self.operator(body)

    def legacy_BatchGetItem(self, table):
        keys = [self.key(table) for _ in range(self.rng.randint(1, 3))]
        return {"RequestItems": {table.name: {"Keys": keys, "AttributesToGet": self.rng.sample(NAMES, 2)}}}

    def mixed(self, body):
        """A parameter of the other kind beside those that are there."""
        rng = self.rng
        extra = rng.choice([
            ("ConditionExpression", "attribute_exists(a)"), ("Expected", {"a": {"Exists": False}}), ("AttributesToGet", ["a"]), ("ConditionalOperator", "AND"),
            ("ProjectionExpression", "a"), ("FilterExpression", "attribute_exists(a)"), ("QueryFilter", self.legacy_conditions()), ("ScanFilter", self.legacy_conditions()),
            ("AttributeUpdates", {"a": {"Value": {"S": "a"}}}), ("UpdateExpression", "REMOVE a"), ("KeyConditionExpression", "p = a"),
            ("KeyConditions", {"p": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "k1"}]}}), ("ExpressionAttributeNames", {}), ("ExpressionAttributeValues", {}),
            ("ExpressionAttributeNames", {"a": "a"}), ("ExpressionAttributeNames", {"#a": ""}), ("ExpressionAttributeValues", {"v": {"S": "a"}}), ("ExpressionAttributeNames", {"#": "a"}),
        ])
        body.setdefault(*extra)
