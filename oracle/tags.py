"""Tags. DynamoDB Local does not have them, so Torc's answers are compared with the developer guide's rules (Tagging restrictions in DynamoDB) and the API
reference's (Tag, TagResource, UntagResource), as they are written down here."""

import unicodedata

MOST = 50
OPERATIONS = ["TagResource"] * 3 + ["UntagResource"] + ["ListTagsOfResource"]
KEYS = ["Owner", "owner", "a b", "k+-=._:/@", "Größe", "十", "１", "aws", "x" * 128]
VALUES = ["", "ops", "a b", "+-=._:/@", "é", "v" * 256]
# Of each the kind of fault: length, character, prefix.
BAD_KEYS = [("", "length"), ("x" * 129, "length"), ("a!", "character"), ("a\n", "character"), ("😀", "character"), ("aws:a", "prefix"), ("AWS:a", "prefix")]
BAD_VALUES = [("v" * 257, "length"), ("a;b", "character"), ("\t", "character"), ("<", "character")]


def allowed(text):
    """Letters, white space, numbers and `+ - = . _ : /`; and `@`, as Torc lets it through."""
    return all(one in "+-=._:/@" or unicodedata.category(one)[0] in "LNZ" for one in text)


class Tags:
    """The tags of one table, as they are to be."""

    def __init__(self, rng, table):
        self.rng, self.table, self.arn, self.tags = rng, table, None, {}

    def request(self):
        """(operation, body, whether it is to be refused, the tags afterwards)"""
        rng = self.rng
        operation = rng.choice(OPERATIONS)
        body = {"ResourceArn": self.arn}
        if operation == "ListTagsOfResource":
            return operation, body, False, self.tags
        if operation == "UntagResource":
            keys = rng.sample(KEYS, rng.randint(0, 3)) + [f"n{rng.randrange(60)}" for _ in range(rng.choice([0, 0, 30]))]
            if rng.random() < 0.1:
                keys.append(rng.choice(["", "x" * 129]))
            refused = not keys or any(not 1 <= len(key) <= 128 for key in keys)
            return operation, dict(body, TagKeys=keys), refused, self.tags if refused else {key: value for key, value in self.tags.items() if key not in keys}
        tags = [(rng.choice(KEYS), rng.choice(VALUES)) for _ in range(rng.randint(0, 3))] + [(f"n{rng.randrange(60)}", "") for _ in range(rng.choice([0, 0, 0, 20]))]
        if rng.random() < 0.2:
            tags.append((rng.choice(BAD_KEYS)[0], "") if rng.random() < 0.6 else ("a", rng.choice(BAD_VALUES)[0]))
        keys = [key for key, _ in tags]
        faulty = lambda key, value: not 1 <= len(key) <= 128 or len(value) > 256 or not allowed(key + value) or key.lower().startswith("aws:")
        refused = not tags or len(set(keys)) < len(keys) or any(faulty(key, value) for key, value in tags) or len({**self.tags, **dict(tags)}) > MOST
        after = self.tags if refused else {**self.tags, **dict(tags)}
        return operation, dict(body, Tags=[{"Key": key, "Value": value} for key, value in tags]), refused, after

    def compare(self, side):
        """Sends a request to Torc; (operation, body, what it answered, what it was to answer), the last two alike if all is well."""
        if self.arn is None:
            self.arn = side.call("DescribeTable", {"TableName": self.table})[1]["Table"]["TableArn"]
        operation, body, refused, self.tags = self.request()
        status, answer = side.call(operation, body)
        listed_status, listed = side.call("ListTagsOfResource", {"ResourceArn": self.arn})
        kind = str(answer.get("__type", "")).split("#")[-1]
        ours = (status, kind, answer.get("message", ""), {tag["Key"]: tag["Value"] for tag in listed.get("Tags", [])} if listed_status == 200 else listed)
        wanted = (400, "ValidationException") if refused else (200, "")
        return operation, body, ours, (*wanted, ours[2], self.tags)
