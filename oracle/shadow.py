"""Filters of scans of global indexes that do not hold all attributes. To DynamoDB such a filter sees what the index holds (API reference, Scan, Select:
a global index never fetches from its table); DynamoDB Local's sees the whole item. So DynamoDB Local is asked a second time, of a table that holds
the rows of the index as its items."""


class Shadows:
    """A table at DynamoDB Local for each such index, with an index of the same name that holds all."""

    def __init__(self, local, world, settle, walk):
        self.local, self.settle, self.walk = local, settle, walk
        self.tables = {}
        for table in world.data_tables:
            for name, _, projection in table.global_indexes:
                if projection["ProjectionType"] != "ALL":
                    creation = dict(table.creation(), TableName=f"shadow-{table.name}-{name}")
                    creation.pop("LocalSecondaryIndexes", None)
                    creation["GlobalSecondaryIndexes"] = [
                        dict(index, Projection={"ProjectionType": "ALL"}) for index in creation["GlobalSecondaryIndexes"] if index["IndexName"] == name
                    ]
                    used = {key["AttributeName"] for schema in [creation] + creation["GlobalSecondaryIndexes"] for key in schema["KeySchema"]}
                    creation["AttributeDefinitions"] = [one for one in creation["AttributeDefinitions"] if one["AttributeName"] in used]
                    self.tables[table.name, name] = ([key["AttributeName"] for key in creation["KeySchema"]], creation)

    def create(self):
        for _, creation in self.tables.values():
            self.local.call("DeleteTable", {"TableName": creation["TableName"]})
            self.settle(self.local, creation["TableName"])
            status, body = self.local.call("CreateTable", creation)
            if status != 200:
                raise RuntimeError(f"CreateTable: {status} {body}")

    def drop(self):
        for _, creation in self.tables.values():
            self.local.call("DeleteTable", {"TableName": creation["TableName"]})

    def stands_for(self, operation, body):
        """Whether a request is a scan of one of them with a filter. `Walk` may be of a query, whose filter may only name what is held."""
        if operation not in ("Scan", "Walk") or not {"FilterExpression", "ScanFilter"} & set(body) or "KeyConditionExpression" in body:
            return False
        return (body.get("TableName"), body.get("IndexName")) in self.tables

    def ask(self, operation, body):
        """DynamoDB Local's answer about the rows of the index."""
        keys, creation = self.tables[body["TableName"], body["IndexName"]]
        name = creation["TableName"]
        _, rows = self.walk(self.local, {"TableName": body["TableName"], "IndexName": body["IndexName"]})
        _, before = self.walk(self.local, {"TableName": name})
        for item in before["Items"]:
            self.local.call("DeleteItem", {"TableName": name, "Key": {key: item[key] for key in keys}})
        for item in rows["Items"]:
            status, answer = self.local.call("PutItem", {"TableName": name, "Item": item})
            if status != 200:
                raise RuntimeError(f"PutItem: {status} {answer}")
        asked = dict(body, TableName=name)
        status, answer = self.walk(self.local, asked) if operation == "Walk" else self.local.call(operation, asked)
        if isinstance(answer.get("ConsumedCapacity"), dict):
            answer["ConsumedCapacity"]["TableName"] = body["TableName"]
        return status, answer
