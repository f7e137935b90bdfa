"""Requests of the operations on tables, over a handful of names. Those on tags are in `tags.py`."""

from malformed import JUNK


class Lifecycle:
    """Its tables are apart from those of the data operations. `known` follows what DynamoDB Local has of them."""

    def __init__(self, rng, prefix):
        self.rng, self.prefix = rng, prefix
        self.all = [f"{prefix}t{at}" for at in range(5)]
        self.known = set()

    def request(self):
        operation = self.rng.choice(
            ["CreateTable"] * 5 + ["UpdateTable"] * 5 + ["DescribeTable", "DeleteTable", "ListTables", "UpdateTimeToLive", "DescribeTimeToLive"]
        )
        return operation, getattr(self, operation)()

    def observe(self, operation, body, status, answer):
        if status == 200 and operation == "CreateTable":
            self.known.add(body["TableName"])
        if status == 200 and operation == "DeleteTable":
            self.known.discard(body["TableName"])

    def name(self):
        rng = self.rng
        if rng.random() < 0.04:
            return rng.choice(["", "a", "ab", "a b", "a" * 256, "ü" * 5, "abc$", "a/b"])
        if self.known and rng.random() < 0.7:
            return rng.choice(sorted(self.known))
        return rng.choice(self.all)

    def units(self, spelled=("ReadCapacityUnits", "WriteCapacityUnits")):
        units = lambda: self.rng.choice([1, 1, 2, 5, 10, 10, 0, -1, 1_000_000_000_001] if self.rng.random() < 0.2 else [1, 2, 5])
        out = {name: units() for name in spelled}
        if self.rng.random() < 0.03:
            out.pop(spelled[0])
        return out

    def schema(self, names=("p", "r")):
        rng = self.rng
        out = [{"AttributeName": name, "KeyType": role} for name, role in zip(names, ["HASH", "RANGE"])]
        if rng.random() < 0.04:
            rng.choice([
                lambda: out.reverse(), lambda: out.clear(), lambda: out.append({"AttributeName": "x", "KeyType": "RANGE"}), lambda: out[0].update(KeyType="RANGE"),
                lambda: out[-1].update(KeyType="HASH"), lambda: out[-1].update(AttributeName=names[0]), lambda: out[0].update(AttributeName="nope"),
                lambda: out[0].update(KeyType="PRIMARY"), lambda: out[0].pop("KeyType"), lambda: out[0].update(AttributeName=""), lambda: out[0].update(AttributeName="a" * 256),
            ])()
        return out

    def projection(self):
        rng = self.rng
        out = {"ProjectionType": rng.choice(["ALL", "KEYS_ONLY", "INCLUDE"])}
        if (out["ProjectionType"] == "INCLUDE") != (rng.random() < 0.05):
            out["NonKeyAttributes"] = rng.choice([["a"], ["a", "b"], ["a", "b"], ["p"], ["a", "a"], [], [f"a{at}" for at in range(rng.choice([20, 21]))], [""]] if rng.random() < 0.3 else [["a"], ["a", "b"]])
        if rng.random() < 0.02:
            rng.choice([lambda: out.clear(), lambda: out.update(ProjectionType="SOME"), lambda: out.pop("ProjectionType")])()
        return out

    def CreateTable(self):
        rng = self.rng
        name = self.name()
        sort = ["p"] if rng.random() < 0.3 else ["p", "r"]
        body = {"TableName": name, "KeySchema": self.schema(sort)}
        used = list(sort)
        if rng.random() < 0.4:
            body["LocalSecondaryIndexes"] = []
            for at in range(rng.choice([1, 1, 2, 5, 6] if rng.random() < 0.2 else [1, 2])):
                key = rng.choice(["l", "m", "p", "r"] if rng.random() < 0.1 else ["l", "m"])
                used.append(key)
                index = rng.choice(["ab", "same", "same", "a b"]) if rng.random() < 0.05 else f"local{at}"
                keys = ["p", key] if rng.random() < 0.97 else rng.choice([["p"], ["l", "p"], ["r", "l"]])
                body["LocalSecondaryIndexes"].append({"IndexName": index, "KeySchema": self.schema(keys), "Projection": self.projection()})
        mode = rng.random()
        if rng.random() < 0.35:
            body["GlobalSecondaryIndexes"] = [self.global_index(at, mode >= 0.5) for at in range(rng.choice([1, 1, 2, 3, 20, 21] if rng.random() < 0.1 else [1, 2]))]
            used += [key["AttributeName"] for one in body["GlobalSecondaryIndexes"] for key in one.get("KeySchema", []) if "AttributeName" in key]
        if rng.random() < 0.03:
            body[rng.choice(["LocalSecondaryIndexes", "GlobalSecondaryIndexes"])] = []
        definitions = [{"AttributeName": key, "AttributeType": rng.choice("SNB")} for key in dict.fromkeys(used)]
        if rng.random() < 0.05:
            rng.choice([
                lambda: definitions.pop(), lambda: definitions.append({"AttributeName": "x", "AttributeType": "S"}), lambda: definitions.append(dict(definitions[0])),
                lambda: definitions[0].update(AttributeType="BOOL"), lambda: definitions[0].pop("AttributeName"), lambda: definitions.clear(), lambda: definitions[0].update(AttributeName=""),
            ])()
        body["AttributeDefinitions"] = definitions
        if mode < 0.5:
            body["BillingMode"] = "PAY_PER_REQUEST"
        elif mode < 0.55:
            body["BillingMode"] = rng.choice(["PROVISIONED", "SOME", "PAY_PER_REQUEST"])
        if (mode >= 0.5) != (rng.random() < 0.03):
            body["ProvisionedThroughput"] = self.units()
        if rng.random() < 0.1:
            body["Tags"] = self.tags()
        if rng.random() < 0.1:
            body["DeletionProtectionEnabled"] = rng.random() < 0.3
        if rng.random() < 0.1:
            body["TableClass"] = rng.choice(["STANDARD", "STANDARD", "STANDARD_INFREQUENT_ACCESS", "COLD"])
        if rng.random() < 0.1:
            body["StreamSpecification"] = self.stream()
        return self.broken(body)

    def global_index(self, at, provisioned):
        """What defines a global index; `provisioned` is how its table is billed."""
        rng = self.rng
        keys = rng.choice([["g"], ["h"], ["g", "h"], ["h", "g"], ["r", "g"], ["p"], ["g", "p"], ["p", "r"]])
        name = rng.choice(["ab", "same", "same", "local0", "a b"]) if rng.random() < 0.04 else f"global{at}"
        out = {"IndexName": name, "KeySchema": self.schema(keys), "Projection": self.projection()}
        if provisioned != (rng.random() < 0.03):
            out["ProvisionedThroughput"] = self.units()
        if rng.random() < 0.02:
            out.pop(rng.choice(list(out)))
        return out

    def index_updates(self, body):
        """Indexes made, changed and deleted, and the definitions that they need."""
        rng = self.rng
        updates = []
        for _ in range(rng.choice([0, 2, 2, 3] if rng.random() < 0.1 else [1])):
            kind, at = rng.choice(["Create", "Create", "Create", "Delete", "Update"]), rng.randrange(4)
            if kind == "Create":
                action = self.global_index(at, rng.random() < 0.5)
            else:
                action = {"IndexName": f"global{at}" if rng.random() < 0.97 else rng.choice(["none", "ab", "a b", "local0", ""])}
                if kind == "Update" and rng.random() < 0.95:
                    action["ProvisionedThroughput"] = self.units()
            update = {kind: action}
            if rng.random() < 0.02:
                rng.choice([lambda: update.clear(), lambda: update.update(Delete={"IndexName": "global0"}), lambda: update.update(Other={}), lambda: action.clear()])()
            updates.append(update)
        body["GlobalSecondaryIndexUpdates"] = updates
        used = [key["AttributeName"] for one in updates for key in one.get("Create", {}).get("KeySchema", []) if "AttributeName" in key]
        if used and rng.random() < 0.95:
            # Mostly of one type, as they were before.
            body["AttributeDefinitions"] = [{"AttributeName": key, "AttributeType": rng.choice("SSSSSSNB")} for key in dict.fromkeys(used)]

    def stream(self):
        rng = self.rng
        out = {"StreamEnabled": rng.random() < 0.7}
        if out["StreamEnabled"] != (rng.random() < 0.2):
            out["StreamViewType"] = rng.choice(["KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES", "NEW_AND_OLD_IMAGES", "ALL"])
        return out

    def broken(self, body):
        rng = self.rng
        if body and rng.random() < 0.04:
            name = rng.choice(list(body))
            if rng.random() < 0.5:
                del body[name]
            else:
                body[name] = rng.choice(JUNK)
        return body

    def UpdateTable(self):
        rng = self.rng
        body = {"TableName": self.name()}
        if rng.random() < 0.5:
            body["ProvisionedThroughput"] = self.units()
        if rng.random() < 0.4:
            body["BillingMode"] = rng.choice(["PROVISIONED", "PAY_PER_REQUEST", "PAY_PER_REQUEST", "SOME"])
        if rng.random() < 0.2:
            body["DeletionProtectionEnabled"] = rng.random() < 0.3
        if rng.random() < 0.1:
            body["TableClass"] = rng.choice(["STANDARD", "STANDARD_INFREQUENT_ACCESS"])
        if rng.random() < 0.1:
            body["StreamSpecification"] = self.stream()
        if rng.random() < 0.4:
            # Alone, most of the time.
            body = {"TableName": body["TableName"]} if rng.random() < 0.8 else body
            self.index_updates(body)
        if rng.random() < 0.05:
            body["AttributeDefinitions"] = [{"AttributeName": "z", "AttributeType": "S"}]
        return self.broken(body)

    def DescribeTable(self):
        return self.broken({"TableName": self.name()})

    def DeleteTable(self):
        return self.broken({"TableName": self.name()})

    def ListTables(self):
        # Only names of this run are asked for: others come and go.
        rng = self.rng
        body = {"ExclusiveStartTableName": rng.choice([self.prefix] + self.all)}
        if rng.random() < 0.3:
            body["Limit"] = rng.choice([1, 2, 3])
        if rng.random() < 0.2:
            body["Limit"] = rng.choice([0, -1, 101, 1000])
        if rng.random() < 0.1:
            body["ExclusiveStartTableName"] = rng.choice(["", "a", "a b", "ab"])
            body["Limit"] = 0
        return body

    def tags(self):
        rng = self.rng
        out = [{"Key": rng.choice(["a", "b", "c", "long" * 10]), "Value": rng.choice(["", "x", "y" * 256])} for _ in range(rng.randint(1, 2))]
        if rng.random() < 0.1:
            rng.choice([
                lambda: out.clear(), lambda: out[0].update(Key=""), lambda: out[0].update(Key="k" * 129), lambda: out[0].update(Value="v" * 257), lambda: out[0].update(Key="aws:x"),
                lambda: out[0].pop("Value"), lambda: out[0].pop("Key"), lambda: out.extend({"Key": f"k{at}", "Value": ""} for at in range(60)),
            ])()
        return out

    def UpdateTimeToLive(self):
        attribute = self.rng.choice(["ttl", "ttl", "exp", "p", "", "a" * 256])
        return self.broken({"TableName": self.name(), "TimeToLiveSpecification": {"Enabled": self.rng.random() < 0.6, "AttributeName": attribute}})

    def DescribeTimeToLive(self):
        return self.broken({"TableName": self.name()})

    def repair(self, operation, body, source, target, settle):
        """After a difference: the table is deleted on both sides."""
        name = body.get("TableName")
        if operation not in ("CreateTable", "UpdateTable", "DeleteTable") or name not in self.all:
            return
        for side in (source, target):
            side.call("UpdateTable", {"TableName": name, "DeletionProtectionEnabled": False})
            for _ in range(3):
                # DynamoDB Local may fail now and then.
                side.call("DeleteTable", {"TableName": name})
                settle(side, name)
                if side.call("DescribeTable", {"TableName": name})[0] != 200:
                    break
        self.known.discard(name)
