"""Updates that only take away, of a key without an item. DynamoDB does nothing then: developer guide, Legacy conditional parameters,
AttributeUpdates ("If no item with the specified Key is found: DELETE - Nothing happens"); of expressions as observed at AWS in scylladb/scylladb
issue 5862. DynamoDB Local creates the item, or refuses a path that leads nowhere. So its answer is turned into what is to be expected, and the item
that it has made is taken away again."""

import re

# What DynamoDB Local says of such an update because it looks into an item of the key alone.
OF_THE_ITEM = ("The document path provided in the update expression is invalid for update",)


def only_takes_away(body):
    """Whether a request has actions and all of them remove or delete."""
    expression, updates = body.get("UpdateExpression"), body.get("AttributeUpdates")
    if isinstance(expression, str) and updates is None:
        words = re.findall(r"[A-Za-z]+", re.sub(r"[#:][A-Za-z0-9_]+", "", expression))
        sections = {word.upper() for word in words} & {"SET", "REMOVE", "ADD", "DELETE"}
        return bool(sections) and sections <= {"REMOVE", "DELETE"}
    if isinstance(updates, dict) and updates and expression is None and "ConditionExpression" not in body:
        return all(isinstance(one, dict) and one.get("Action") == "DELETE" for one in updates.values())
    return False


def takes_away(local, operation, body, world):
    """Whether a request is one of these; asked before it is sent."""
    if operation != "UpdateItem" or not isinstance(body, dict) or not only_takes_away(body) or not isinstance(body.get("Key"), dict):
        return False
    if not any(table.name == body.get("TableName") for table in world.data_tables):
        return False
    status, answer = local.call("GetItem", {"TableName": body["TableName"], "Key": body["Key"], "ConsistentRead": True})
    return status == 200 and "Item" not in answer


def answers(local, body, theirs, ours):
    """What is to be expected, and Torc's answer, without the capacity: DynamoDB Local may charge for the item."""
    status, answer = theirs
    refused = status == 400 and any(text in answer.get("message", answer.get("Message", "")) for text in OF_THE_ITEM)
    if status == 200:
        local.call("DeleteItem", {"TableName": body["TableName"], "Key": body["Key"]})
    if status == 200 or refused:
        theirs = 200, {}
    if ours[0] == theirs[0] == 200:
        ours = 200, {name: value for name, value in ours[1].items() if name not in ("ConsumedCapacity", "ItemCollectionMetrics")}
    return theirs, ours
