"""Where Torc and DynamoDB Local differ on purpose, and what settles it. DynamoDB itself has the last word: its API reference and
developer guide, the service model in botocore, and its answers as they are published there."""

KEY_MISMATCH = "The provided key element does not match the schema"


def reason(operation, body, ours, theirs):
    """Why the difference is none, or None. Outcomes are (status, kind of error, message, body or item)."""
    (status, kind, message, answer), (their_status, their_kind, their_message, their_answer) = ours, theirs
    for rule in RULES:
        text = rule(operation, body, status, kind, message, answer, their_status, their_kind, their_message, their_answer)
        if text:
            return text
    return None


def key_shape(operation, body, status, kind, message, answer, their_status, their_kind, their_message, their_answer):
    local = ("The number of conditions on the keys is invalid", "Type mismatch for key", "One of the required keys was not given a value")
    if message.endswith(KEY_MISMATCH) and any(text in their_message for text in local):
        return "key of the wrong shape: the service says that it does not match the schema (API reference, GetItem, Errors)"
    ours = ("Missing the key ", "Type mismatch for key ")
    if any(text in message for text in ours) and any(text in their_message for text in local):
        return "item without its key: the service names the attribute, DynamoDB Local does not"
    return None


def index_key(operation, body, status, kind, message, answer, their_status, their_kind, their_message, their_answer):
    if "Type mismatch for Index Key" in message and "Type mismatch for Index Key" in their_message:
        return "index key of the wrong type: the service names attribute, types and index, DynamoDB Local does not"
    if "Type mismatch for Index Key" in message and "Invalid attribute value type" in their_message:
        return "index key of the wrong type: the service names attribute, types and index, DynamoDB Local does not"
    if operation == "PutItem" and their_message == "Invalid attribute value type":
        return "two faults: the service reads values and expressions before it looks at the table's key"
    if "secondary index key to unsupported type" in message and their_status == 200:
        return "update of an index key to another type: the service refuses (developer guide, Local Secondary Indexes), DynamoDB Local stores it"
    return None


def capacity(operation, body, status, kind, message, answer, their_status, their_kind, their_message, their_answer):
    if status != 200 or their_status != 200 or answer is None:
        return None
    asked = body.get("ReturnConsumedCapacity", "NONE")
    ours, theirs = dict(answer), dict(their_answer)
    mine, local = ours.pop("ConsumedCapacity", None), theirs.pop("ConsumedCapacity", None)
    if ours != theirs:
        return None
    if asked == "NONE" and mine is None:
        return "capacity that nobody asked for: DynamoDB Local gives that of deletions all the same"
    if operation == "BatchGetItem":
        return "reading what does not exist is charged (developer guide, Read consistency and capacity units); DynamoDB Local does not"
    if operation == "BatchWriteItem":
        return "deleting what does not exist is one unit a write (developer guide, Write capacity units); DynamoDB Local adds them up otherwise"
    return None


def worded(operation, body, status, kind, message, answer, their_status, their_kind, their_message, their_answer):
    """Both refuse for the same fault in other words."""
    pairs = [
        ("at 'limit' failed to satisfy constraint", "Limit must be greater than or equal to 1"),
        ("ReturnValues can only be ALL_OLD or NONE", "Return values set to invalid value"),
    ]
    for ours, theirs in pairs:
        if ours in message and theirs in their_message:
            return "the same fault in the words of the service: " + theirs
    if message.removeprefix("1 validation error detected: ") == their_message:
        return "the same fault in the words of the service: Select and projection"
    overlap = "Two document paths overlap with each other"
    if overlap in message and overlap in their_message and message.split("path two")[0] == their_message.split("path two")[0]:
        return "overlapping paths: DynamoDB Local names another path as the second"
    return None


def order(operation, body, status, kind, message, answer, their_status, their_kind, their_message, their_answer):
    """Both refuse, each for another of the request's faults. What needs no table comes before what does (see ops/mod.rs)."""
    if status != 400 or their_status != 400:
        return None
    local_needs_table = KEY_FAULTS + ("cannot contain an empty string value. Key:",)
    if any(text in their_message for text in local_needs_table) and not any(text in message for text in local_needs_table):
        return "two faults: the service reads values and expressions before it looks at the table's key"
    if "Return values set to invalid value" in their_message:
        return "two faults: the service checks the item's values before ReturnValues"
    select = ("SPECIFIC_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES")
    if operation in ("Query", "Scan") and any(text in message for text in select):
        return "two faults: Select is checked before the expressions"
    static = ("Cannot update attribute", "Key attributes must be scalars")
    if their_kind == "ConditionalCheckFailedException" and any(text in message for text in static):
        return "an update that can never be done is refused before its condition is looked at"
    both = ("The document path provided in the update expression is invalid for update", "An operand in the update expression has an incorrect data type", "refers to an attribute that does not exist in the item")
    if any(text in message for text in both) and any(text in their_message for text in both):
        return "two faulty actions in one update: which is told first is not documented"
    if "Type mismatch for Index Key" in message and "Invalid attribute value type" in their_message:
        return "index key of the wrong type: the service names attribute, types and index, DynamoDB Local does not"
    if operation == "PutItem" and their_message == "Invalid attribute value type":
        return "two faults: the service reads values and expressions before it looks at the table's key"
    if "secondary index key to unsupported type" in message and "Invalid attribute value type" in their_message:
        return "update of an index key to another type, in the words of the service"
    return None


def java(operation, body, status, kind, message, answer, their_status, their_kind, their_message, their_answer):
    if their_kind == "InternalFailure":
        return "DynamoDB Local fails with 500"
    sets = "Invalid attribute type name found"
    if sets in message and sets in their_message:
        return "the names of the types come in the order of a Java hash set, which differs between versions of Java"
    ours, theirs = "The parameter cannot be converted to a numeric value", "A value provided cannot be converted into a number"
    if ours in message and theirs in their_message:
        return "a number that is none: the service repeats it, DynamoDB Local does not"
    return None


KEY_FAULTS = (
    "The number of conditions on the keys is invalid",
    "Type mismatch for key",
    "One of the required keys was not given a value",
)
RULES = [key_shape, index_key, capacity, worded, java, order]
