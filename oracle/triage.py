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
    if "secondary index key to unsupported type" in message and their_status == 200:
        return "update of an index key to another type: the service refuses (developer guide, Local Secondary Indexes), DynamoDB Local stores it"
    return None


RULES = [key_shape, index_key]
