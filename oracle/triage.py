"""Where Torc and DynamoDB Local differ on purpose, and what settles it. DynamoDB itself has the last word: its API reference and
developer guide, the service model in botocore, and its answers as they are published there."""

import decimal
import json
import re
from collections import namedtuple

import shapes
from raw import Raw

# What happened: the request, then (status, kind of error, message, body or item) of either side.
Case = namedtuple("Case", "operation body status kind message answer their_status their_kind their_message their_answer")
LIFECYCLE = ("CreateTable", "UpdateTable", "DescribeTable", "DeleteTable", "ListTables", "UpdateTimeToLive", "DescribeTimeToLive")


def reason(operation, body, ours, theirs):
    """Why the difference is none, or None."""
    if ours[0] == theirs[0] == 200 and body.get("ReturnItemCollectionMetrics") == "SIZE":
        answer = {name: value for name, value in ours[3].items() if name != "ItemCollectionMetrics"}
        if answer != ours[3] and answer == theirs[3]:
            return "item collection metrics (API reference, ItemCollectionMetrics): DynamoDB Local has none"
        ours = (*ours[:3], answer)
    if ours[0] not in (200, 400) or ours[1] == "NotJson":
        # Whatever DynamoDB Local says, Torc must not fail.
        return None
    if isinstance(body, Raw):
        readings = body.read()
        text = unread(operation, readings, ours, theirs)
        if text:
            return text
        if body.null_twice:
            return "a member that is there twice, once as null: a null is as if it were not there; for DynamoDB Local the last one counts (RFC 8259, Objects: unpredictable)"
        if body.twice and ours[:2] == (400, "ValidationException") and theirs[0] == 200 and stage(*ours[:3]) == 3:
            return "a member that is there twice in a map is checked each time; DynamoDB Local looks at the last alone (RFC 8259, Objects: unpredictable)"
        # What is nested too deeply for Python is read as it was before it was changed.
        body = readings[0] if readings and isinstance(readings[0], dict) else body
    case = Case(operation, body, *ours, *theirs)
    for rule in RULES:
        text = rule(case)
        if text:
            return text
    return None


def unread(operation, readings, ours, theirs):
    """Bodies that are no JSON, or no request."""
    if ours[:2] == theirs[:2] == (400, "SerializationException"):
        return "a body that is no JSON or has a wrong type: each side words it its own way"
    if ours[:2] != (400, "SerializationException"):
        return None
    if not readings:
        return "a body that is no JSON (RFC 8259): SerializationException; DynamoDB Local reads some of them, or finds another fault before it comes there"
    if any(not isinstance(one, dict) or shapes.misfit(operation, one) for one in readings):
        return "wrong JSON type: the service refuses with SerializationException what does not have the service model's shape, DynamoDB Local converts"
    return None


# The order of checks, as crates/model/src/ops/mod.rs has it. What DynamoDB Local says comes from the same code as the service's
# for expressions, but is called in another order and for some operations not at all.
STAGES = [
    (5, ("item keys contains duplicates",)),
    (1, ("Can not use both expression and non-expression", "can only be specified when using expressions")),
    (0.3, ("Requested resource not found", "non-existent table")),
    (0.5, ("The TotalSegments parameter is", "The Segment parameter is", "segment must also be specified", "If total segments is specified", "at 'segment' failed", "at 'totalSegments' failed")),
    (2, ("when choosing to get", "ALL_PROJECTED_ATTRIBUTES can be used", "Either the KeyConditions or", "Too many items requested",
        "Limit must be greater")),
    (4, ("Invalid ConditionExpression", "Invalid FilterExpression", "Invalid UpdateExpression", "Invalid ProjectionExpression", "Invalid KeyConditionExpression", "unused in expressions",
        "ExpressionAttributeNames contains", "ExpressionAttributeNames must", "ExpressionAttributeValues contains", "ExpressionAttributeValues must", "ConditionalOperator can", "ComparisonOperator", "AttributeValueList", "for Attribute:",
        "BETWEEN condition was provided", "DELETE action", "action is not supported", "Duplicate value in attribute name", "Cannot have two attributes with the same name", "Only DELETE action",
        "must be of same type")),
    (3, ("Supplied AttributeValue", "The supplied Item contains a null", "contains duplicates", "may not be empty", "should not be empty", "may not have a null", "may not contain null", "Null attribute value types", "cannot be converted", "Number overflow",
        "Number underflow", "Attempting to store more than 38", "Nesting Levels", "more than one datatypes", "Empty attribute name", "Attribute name is too large")),
    (3.5, ("ReturnValues can only be", "Return values set to invalid value")),
    (3.7, ("Item size has exceeded",)),
    (5, ("does not match the schema", "The number of conditions on the keys", "Type mismatch for key", "One of the required keys", "Missing the key", "cannot contain an empty", "Index Key", "Index Key",
        "Size of hashkey", "Aggregated size of all range", "Invalid operator used in KeyCondition", "Condition parameter type does not", "Size limit exceeded", "Hash primary key values must", "The table does not have the specified index", "starting key", "Exclusive Start Key", "Query condition missed", "Query key condition",
        "Conditions can be of length", "Condition parameter type", "Filter Expression can only", "does not project", "not supported for global", "Consistent reads are not", "Consistent read cannot", "Global secondary index", "Key attributes must be scalars",
        "Cannot update attribute", "Invalid attribute value type", "item keys contains duplicates", "QueryFilter can only contain", "not an indexable operation",
        "Invalid operator used in KeyCondition", "KeyConditionExpressions cannot", "This attribute is part of the key", "Attempted conditional")),
    (6, ("The conditional request failed", "The document path provided in the update", "An operand in the update expression", "refers to an attribute that does not exist", "Type mismatch for attribute to update",
        "Updates on index keys", "secondary index key to unsupported", "secondary index key beyond", "Item size to update", "index key to a value that is not supported")),
]


def stage(status, kind, message):
    if status == 200:
        return 9
    if kind == "SerializationException":
        return -1
    if re.match(r"\d+ validation errors? detected: Value", message):
        return 0
    for number, texts in STAGES:
        if any(text in message for text in texts):
            return number
    return None


def types(c):
    """Wrong JSON types, checked against the service model."""
    if c.kind != "SerializationException":
        return None
    if shapes.misfit(c.operation, c.body):
        return "wrong JSON type: the service refuses with SerializationException what does not have the service model's shape, DynamoDB Local converts"
    return None


def constraints(c):
    """Broken constraints, checked against the service model and the request."""
    if re.match(r"\d+ validation errors? detected: Value", c.message) and shapes.proven(c.body, c.message):
        return "constraint of the service model: the service checks all of them first and lists them together, DynamoDB Local has only some"
    return None


def earlier(c):
    """Both refuse, each for another of the request's faults, and Torc tells the one that the service comes to first."""
    if c.status != 400 or c.their_status != 400:
        return None
    ours, theirs = stage(c.status, c.kind, c.message), stage(c.their_status, c.their_kind, c.their_message)
    if ours is not None and theirs is not None and 0 < ours < theirs:
        return f"two faults: the service comes to {NAMES[ours]} before {NAMES[theirs]} (crates/model/src/ops/mod.rs)"
    return None


NAMES = {
    0.3: "whether the table exists", 0.5: "segments", 1: "the mixing of old parameters and expressions", 2: "parameters that do not go together", 3: "values that are none", 3.5: "ReturnValues", 3.7: "the item's size", 4: "expressions and old conditions", 5: "what depends on the table's schema",
    6: "what depends on the item",
}


def lifecycle(c):
    """Operations on tables: DynamoDB Local words every refusal its own way, so only kinds are compared."""
    if c.operation not in LIFECYCLE:
        return None
    indexes = [one for one in c.body.get("GlobalSecondaryIndexes") or [] if isinstance(one, dict)] if c.operation == "CreateTable" else []
    schemas = [one.get("KeySchema") or [] for one in indexes]
    several = any(len(schema) > 2 or [key.get("KeyType") for key in schema].count("HASH") > 1 for schema in schemas)
    if several and ("Too many hash keys specified" in c.their_message or "Key Schema too big" in c.their_message):
        return "keys of several attributes (developer guide, Multi-attribute keys): DynamoDB Local does not know them yet"
    if c.status != 400:
        return None
    if c.operation == "UpdateTable" and c.their_status == 200 and "Some index key attributes are not defined" in c.message:
        given = {one["AttributeName"] for one in c.body.get("AttributeDefinitions") or []}
        created = [one["Create"] for one in c.body["GlobalSecondaryIndexUpdates"] if one.get("Create")]
        if any(key["AttributeName"] not in given for one in created for key in one["KeySchema"]):
            return "AttributeDefinitions must include the keys of a new index (API reference, UpdateTable, AttributeDefinitions); DynamoDB Local takes those that the table has"
    if c.their_status == 400 and c.kind == c.their_kind:
        return "operations on tables: the same kind of error, which DynamoDB Local words its own way"
    if c.kind == "ValidationException" and c.their_kind in ("ResourceNotFoundException", "ResourceInUseException"):
        return "operations on tables: what a request alone tells comes before whether there is such a table"
    if "currently protected against deletion" in c.message and c.their_status == 200:
        return "deletion protection holds (API reference, DeletionProtectionEnabled); DynamoDB Local deletes all the same"
    if c.their_status == 200 and any(text in c.message for text in ("Tag keys must be unique", "reserved for system use", "Too many tags")):
        return "tags have rules (API reference, Tag); DynamoDB Local has no tags"
    if c.operation == "UpdateTable" and c.kind == "ResourceNotFoundException" and c.their_message == "Invalid global secondary index name":
        return "an index that is not there: ResourceNotFoundException (API reference, UpdateTable, Errors: a nonexistent table or index)"
    if ("Only one of GlobalSecondaryIndexUpdate" in c.message or "can be specified when BillingMode is PAY_PER_REQUEST" in c.message) and c.their_kind == "LimitExceededException":
        return "operations on tables: what a request alone tells comes before limits"
    told = {
        "ProvisionedThroughput must be specified for index": "a provisioned table's indexes have units (API reference, GlobalSecondaryIndex, ProvisionedThroughput); DynamoDB Local keeps those of before",
        "ProvisionedThroughput should not be specified for index": "throughput of an index of an on-demand table is refused (API reference, ProvisionedThroughput); DynamoDB Local passes over it",
        "Some AttributeDefinitions are not used": "attributes that are defined and used by no key are refused (API reference, CreateTable, AttributeDefinitions); DynamoDB Local does not look where there are global indexes",
        "List of LocalSecondaryIndexes is empty": "an empty list of indexes is refused by the service; DynamoDB Local passes over it",
        "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified": "throughput of an on-demand table is refused (API reference, ProvisionedThroughput); DynamoDB Local passes over it",
    }
    for text, why in told.items():
        if text in c.message and c.their_status == 200:
            return why
    return None


def deeper(c):
    if c.operation == "UpdateItem" and c.status == 400 and "Nesting Levels have exceeded" in c.message and c.their_status == 200:
        return "documents are nested 32 levels deep at most (developer guide, Quotas), however they came to be; DynamoDB Local does not look after updates"
    return None


def looser(c):
    """What DynamoDB Local refuses to do to a table, against the documents."""
    if c.operation == "ListTables" and c.status == c.their_status == 200:
        ours, theirs = dict(c.answer), dict(c.their_answer)
        if ours.pop("LastEvaluatedTableName", None) is None and theirs.pop("LastEvaluatedTableName", None) and ours == theirs:
            return "the last page of ListTables has no LastEvaluatedTableName (API reference, ListTables); DynamoDB Local gives one to every full page"
    if c.operation in ("UpdateTable", "DescribeTable") and c.status == c.their_status == 200 and "DeletionProtectionEnabled" not in c.body:
        (name, ours), = c.answer.items()
        if ours["DeletionProtectionEnabled"] and {name: dict(ours, DeletionProtectionEnabled=False)} == c.their_answer:
            return "an update of something else leaves deletion protection as it is; DynamoDB Local takes it away"
    if c.operation in ("UpdateTable", "DescribeTable", "DeleteTable") and c.status == c.their_status == 200:
        (name, ours), (_, theirs) = *c.answer.items(), *c.their_answer.items()
        on_demand = ours.get("BillingModeSummary") == {"BillingMode": "PAY_PER_REQUEST"}
        none = {"NumberOfDecreasesToday": 0, "ReadCapacityUnits": 0, "WriteCapacityUnits": 0}
        bare = lambda table: dict(table, GlobalSecondaryIndexes=[dict(index, ProvisionedThroughput=0) for index in table.get("GlobalSecondaryIndexes", [])])
        if on_demand and bare(ours) == bare(theirs) and all(set(index["ProvisionedThroughput"].items()) <= set(none.items()) for index in ours.get("GlobalSecondaryIndexes", [])):
            return "indexes are billed as their table is (developer guide, Global secondary indexes), by request without units; DynamoDB Local lets them keep theirs"
    if c.operation == "UpdateTable" and c.status == 200:
        if c.their_message == "Nothing to update" and "TableClass" in c.body:
            return "setting the class of a table is an update (API reference, UpdateTable); DynamoDB Local has no classes"
        if c.their_message == "Cannot change IOPS and Streams at the same time.":
            return "throughput and stream may change together: the API reference lists what may not, and streams are not on the list"
    return None


def missing_table(c):
    if c.kind == c.their_kind == "ResourceNotFoundException" and c.message.startswith("Requested resource not found") and "non-existent table" in c.their_message:
        return "a table that is not there: the service says 'Requested resource not found', DynamoDB Local words it its own way"
    return None


def key_shape(c):
    local = ("The number of conditions on the keys is invalid", "Type mismatch for key", "One of the required keys was not given a value", "Invalid attribute value type")
    if c.message.endswith("The provided key element does not match the schema") and any(text in c.their_message for text in local):
        return "key of the wrong shape: the service says that it does not match the schema (API reference, GetItem, Errors)"
    ours = ("Missing the key ", "Type mismatch for key ")
    if any(text in c.message for text in ours) and any(text in c.their_message for text in local):
        return "item without its key: the service names the attribute, DynamoDB Local does not"
    if c.operation in ("Query", "Walk") and "Size of hashkey has exceeded" in c.message and c.their_status == 200:
        return "query for a key longer than any can be: refused as such keys are everywhere (developer guide, Partition keys and sort keys); DynamoDB Local finds nothing"
    if c.operation == "UpdateItem" and "Size limit exceeded for Index Key" in c.message and c.their_status == 200:
        return "key of a new item that is too long for an index: refused as when it is put (developer guide, Partition keys and sort keys); DynamoDB Local does not look after updates"
    sizes = ("Size of hashkey has exceeded", "Aggregated size of all range keys", "Size limit exceeded for Index Key")
    if any(text in c.message for text in sizes) and any(text in c.their_message for text in ("Hash primary key values must be under", "Size limit exceeded")):
        return "key that is too long: the service names limits, DynamoDB Local lumps them together"
    return None


def start_key(c):
    """Where a page begins: the service has three refusals, in this order: shape, partition, sort key."""
    invalid = "The provided starting key is invalid"
    local = ("Exclusive Start Key must have same size", "Type mismatch for attribute to update", invalid, "starting key does not match the range key predicate", "Invalid attribute value type",
        "The provided starting key is outside query boundaries")
    ours = (invalid, "The provided starting key is outside query boundaries")
    if c.body.get("ExclusiveStartKey") is not None and c.message.startswith(ours) and any(text in c.their_message for text in local):
        return "start key with several faults: the service tells shape before partition before sort key, and names the fault otherwise"
    if c.message.startswith(invalid) and "has exceeded" in c.message and c.their_status == 200:
        return "start key longer than any key can be: refused as such keys are everywhere; DynamoDB Local goes on from there"
    if c.body.get("ExclusiveStartKey") is not None and c.status == 200 and "does not match the range key predicate" in c.their_message:
        if c.answer["ScannedCount"] == 0:
            return "a page may have ended at the last key of the range (LastEvaluatedKey, API reference): it is no fault to go on from there"
    return None


def same_keys(c):
    """Keys of a batch that are the same number."""
    if c.operation != "BatchGetItem" or c.status != 400 or "contains duplicates" not in c.message or c.their_status not in (200, 400):
        return None
    for part in c.body["RequestItems"].values():
        seen = [sorted((name, plain(value)) for name, value in key.items()) for key in part["Keys"]]
        if any(one in seen[:at] for at, one in enumerate(seen)):
            return "a key that is there twice is refused (API reference, BatchGetItem, Errors) and 100 is 1e2: numbers are compared as numbers; DynamoDB Local compares how they are spelled"
    return None


def index_key(c):
    if "Type mismatch for Index Key" in c.message and ("Type mismatch for Index Key" in c.their_message or "Invalid attribute value type" in c.their_message):
        return "index key of the wrong type: the service names attribute, types and index, DynamoDB Local does not"
    if c.operation == "UpdateItem" and ("secondary index key to unsupported type" in c.message or "Type mismatch for Index Key" in c.message) and c.their_status == 200:
        return "update of an index key to another type: the service refuses (developer guide, Local Secondary Indexes), DynamoDB Local stores it"
    local = ("Invalid attribute value type", "Updates on index keys must be of the same data type", "a secondary index key to a value that is not supported")
    if c.operation == "UpdateItem" and ("secondary index key to unsupported type" in c.message or "Type mismatch for Index Key" in c.message) and any(text in c.their_message for text in local):
        return "update of an index key to another type, in the words of the service"
    if "secondary index key" in c.message and "secondary index key" in c.their_message and "empty" in c.message and "empty" in c.their_message:
        return "update of an index key to an empty value: one text for both kinds of update"
    return None


def nothing_deleted(c):
    if c.status == 200 and c.their_message == "Updates on index keys must be of the same data type as the key attribute":
        updates = (c.body.get("AttributeUpdates") or {})
        if any(one.get("Action") == "DELETE" and "Value" in one for one in updates.values()):
            return "deleting from a set that is not there leaves the index key as it was; DynamoDB Local refuses for the value's type"
    return None


def capacity(c):
    if c.status != 200 or c.their_status != 200 or c.answer is None:
        return None
    asked = c.body.get("ReturnConsumedCapacity", "NONE")
    ours, theirs = dict(c.answer), dict(c.their_answer)
    mine, local = ours.pop("ConsumedCapacity", None), theirs.pop("ConsumedCapacity", None)
    if ours != theirs:
        return None
    if asked == "NONE" and mine is None:
        return "capacity that nobody asked for: DynamoDB Local gives that of deletions all the same"
    if c.operation in ("Query", "Scan") and c.answer["ScannedCount"] == 0 and local["CapacityUnits"] == 0 and mine["CapacityUnits"] in (0.5, 1):
        return "reading what does not exist is charged (developer guide, Read consistency and capacity units); DynamoDB Local does not"
    if c.operation == "Query" and "IndexName" in c.body and "#" in (c.body.get("ProjectionExpression") or "") and mine["CapacityUnits"] < local["CapacityUnits"]:
        return "an index that holds all that the projection names is enough; DynamoDB Local takes placeholders for attributes that it does not hold"
    if c.operation in ("Query", "Scan") and "IndexName" in c.body and mine["CapacityUnits"] < local["CapacityUnits"]:
        return "reading an index is charged by the size of its entries (developer guide, Local secondary indexes, Read capacity units); DynamoDB Local takes that of the items"
    if c.operation == "Scan" and "IndexName" in c.body and mine["CapacityUnits"] > local["CapacityUnits"]:
        return "what an index does not hold is fetched from the table and charged (developer guide, Local secondary indexes, Read capacity units); DynamoDB Local does not charge scans for it"
    given = c.body.get("Item") or c.body.get("Key") or {}
    if c.operation in ("PutItem", "UpdateItem") and mine["CapacityUnits"] < local["CapacityUnits"] and any("N" in one and one["N"] != spelled(one["N"]) for one in given.values()):
        return "an index row is not written anew because a number in it is spelled otherwise (developer guide, Global secondary indexes, Write capacity units: only changed projections are charged); DynamoDB Local compares spellings"
    if c.operation in ("PutItem", "UpdateItem") and local["CapacityUnits"] - mine["CapacityUnits"] == 1:
        more = set(local.get("GlobalSecondaryIndexes", {})) - set(mine.get("GlobalSecondaryIndexes", {}))
        if c.body["ReturnConsumedCapacity"] == "TOTAL" or more & {"gsorted", "gnumber", "gsome", "gturned"}:
            return "an index that holds a row neither before nor after is not charged (developer guide, Global secondary indexes, Write capacity units); DynamoDB Local charges where there is one part of its key before and the other after"
    if c.operation == "BatchGetItem":
        return "reading what does not exist is charged (developer guide, Read consistency and capacity units); DynamoDB Local does not"
    if c.operation == "BatchWriteItem":
        return "deleting what does not exist is one unit a write (developer guide, Write capacity units); DynamoDB Local adds them up otherwise"
    return None


def updated(c):
    """`UPDATED_OLD` and `UPDATED_NEW` of a path that leads into an attribute."""
    if c.operation != "UpdateItem" or c.status != 200 or c.their_status != 200 or not str(c.body.get("ReturnValues")).startswith("UPDATED_"):
        return None
    ours, theirs = dict(c.answer), dict(c.their_answer)
    mine, local = ours.pop("Attributes", {}), theirs.pop("Attributes", {})
    if ours == theirs and within({"M": mine}, {"M": local}):
        return "UPDATED_OLD and UPDATED_NEW are 'only the updated attributes' (API reference, UpdateItem, ReturnValues): of a nested path what it leads to, DynamoDB Local gives all of the attribute"
    return None


def spelled(number):
    """A number as the service writes it."""
    try:
        value = decimal.Decimal(number).normalize(decimal.Context(prec=60, Emax=1000, Emin=-1000))
    except decimal.InvalidOperation:
        return None
    return format(value, "f") if value else "0"


def plain(value):
    """A scalar so that equal ones compare equal; other values, which a broken request may have in their place, as they are."""
    if isinstance(value, dict) and set(value) == {"N"}:
        return float(value["N"])
    return str(value)


def within(part, whole):
    """Whether `part` is `whole` with members of its maps and elements of its lists left out."""
    (kind, inner), = part.items()
    if kind not in whole or kind not in ("M", "L"):
        return part == whole
    if kind == "M":
        return all(name in whole["M"] and within(value, whole["M"][name]) for name, value in inner.items())
    rest = iter(whole["L"])
    return all(any(within(one, other) for other in rest) for one in inner)


def ties(c):
    """Rows of an index with the same index key."""
    if c.operation != "Query" or "IndexName" not in c.body or c.status != 200 or c.their_status != 200 or "ScannedCount" not in c.answer:
        return None
    ours, theirs = dict(c.answer), dict(c.their_answer)
    mine, local = ours.pop("Items", []), theirs.pop("Items", [])
    index = {"all": "l", "some": "c", "keys": "n", "gsorted": "n", "gturned": "p", "gsome": "r"}.get(c.body["IndexName"])
    start = c.body.get("ExclusiveStartKey")
    if start:
        # Which of the rows with the index key of the start come after it. A filter or projection hides whether it is they.
        hidden = {"FilterExpression", "QueryFilter", "ProjectionExpression", "AttributesToGet", "Select"} & set(c.body)
        if hidden or any(plain(one.get(index)) == plain(start.get(index)) for one in mine + local):
            return "where a page begins among rows with the same index key: their order is not promised (developer guide, Local secondary indexes)"
    end = theirs.get("LastEvaluatedKey")
    mine_end = ours.pop("LastEvaluatedKey", None)
    theirs.pop("LastEvaluatedKey", None)
    if end and mine_end and ours == theirs and end.get(index) == mine_end.get(index):
        # The page ends among them.
        other = [one for one in mine if one not in local] + [one for one in local if one not in mine]
        hidden = {"ProjectionExpression", "AttributesToGet", "Select"} & set(c.body)
        if hidden or all(one.get(index) == end.get(index) for one in other):
            return "where a page ends among rows with the same index key: their order is not promised (developer guide, Local secondary indexes)"
    if end != mine_end:
        return None
    spelled = lambda items: sorted(json.dumps(one, sort_keys=True) for one in items)
    if ours == theirs and spelled(mine) == spelled(local) and [one.get(index) for one in mine] == [one.get(index) for one in local]:
        return "rows of an index with the same index key: their order is not promised (developer guide, Local secondary indexes)"
    return None


def limited(body, count):
    """Whether a page has as many items as its Limit, which a broken request may have as a fraction."""
    limit = body.get("Limit")
    return isinstance(limit, (int, float)) and int(limit) == count


def last_page(c):
    """A query of a table without sort keys reads one item at most."""
    if c.operation != "Query" or c.status != 200 or c.their_status != 200 or not limited(c.body, c.answer["ScannedCount"]):
        return None
    ours, theirs = dict(c.answer), dict(c.their_answer)
    key = ours.pop("LastEvaluatedKey", {})
    if ours != theirs:
        return None
    values = [plain(value) for value in (c.body.get("ExpressionAttributeValues") or {}).values()]
    values += [plain(value) for one in (c.body.get("KeyConditions") or {}).values() for value in one.get("AttributeValueList") or []]
    # The key that the page ends with is that of the whole partition, or a bound of the range.
    if set(key) == {"p"} or any(plain(value) in values for name, value in key.items() if name != "p"):
        return "a page that ends at its Limit has a LastEvaluatedKey, more or not (API reference, Query, LastEvaluatedKey); DynamoDB Local leaves it out where the last key is the last that the query can read"
    return None


WORDS = [
    ("at 'limit' failed to satisfy constraint", "Limit must be greater than or equal to 1"),
    ("Duplicate value in attribute name", "Cannot have two attributes with the same name"),
    ("ReturnValues can only be ALL_OLD or NONE", "Return values set to invalid value"),
    ("The requestItems parameter is required for Batch", "must have some requests set"),
    ("The requestItems parameter is required for Batch", "cannot have a null or no requests set"),
    ("Supplied AttributeValue is empty", "The supplied Item contains a null AttributeValue"),
    ("The parameter cannot be converted to a numeric value", "A value provided cannot be converted into a number"),
    ("Empty attribute name for key", "because \"val\" is null for key"),
    ("The Segment parameter is", "Cannot specify the"),
    ("The Segment parameter is", "Must specify the"),
    ("The Segment parameter is", "ALL_PROJECTED_ATTRIBUTES can be"),
    ("The TotalSegments parameter is", "Cannot specify the"),
    ("The TotalSegments parameter is", "Must specify the"),
    ("The TotalSegments parameter is", "ALL_PROJECTED_ATTRIBUTES can be"),
    ("more than one datatypes set", "The batch write request list for a table cannot be null or empty"),
    ("ExpressionAttributeNames contains invalid value", "ExpressionAttributeValues contains invalid value"),
    ("The Segment parameter is", "segment must also be specified"),
    ("The TotalSegments parameter is", "total segment must also be specified"),
    ("The Segment parameter is zero-based", "at 'segment' failed to satisfy constraint"),
    ("The provided key element does not match the schema", "may not contain null or empty values"),
    ("The provided key element does not match the schema", "cannot contain an empty"),
    ("Query condition missed key schema element: ", "Query condition missed key schema element"),
    ("may not have a null string as a member", "A value provided cannot be converted into a number"),
    ("Empty attribute name for key", "contains invalid value: null for key"),
    ("The supplied Item contains a null AttributeValue", "The supplied Item contains a null AttributeValue: "),
    ("Attempting to store more than 38 significant digits", "only supports precision up to 38 digits"),
    ("Consistent reads are not supported on global secondary indexes", "Consistent read cannot be true when"),
    ("Requested resource not found", "item keys contains duplicates"),
    ("may not contain null values", "The supplied Item contains a null AttributeValue"),
]


def worded(c):
    """Both refuse for the same fault in other words."""
    if c.status != 400 or c.their_status != 400:
        return None
    for ours, theirs in WORDS:
        if ours in c.message and theirs in c.their_message and c.kind in (c.their_kind, "ResourceNotFoundException"):
            return "the same fault in the words of the service: " + theirs
    syntax = "Syntax error; token: "
    if syntax in c.message and syntax in c.their_message and any(one > "\uffff" for one in c.message) and "\ufffd" in c.their_message:
        return "a character beyond the first 65 536 is one token; DynamoDB Local cuts it into the halves of a surrogate pair"
    if c.kind == c.their_kind and c.message.removeprefix("1 validation error detected: ") == c.their_message:
        return "the same fault in the words of the service: Select and projection"
    clash = re.compile("Two document paths (overlap|conflict) with each other")
    if clash.search(c.message) and clash.search(c.their_message) and c.message.split("path two")[0] == c.their_message.split("path two")[0]:
        return "overlapping or conflicting paths: DynamoDB Local names another path as the second"
    listed = re.compile(r" ?\[[^\]]*\]|\.(?= for key|$)")
    if "contains duplicates" in c.message and listed.sub("", c.message) == listed.sub("", c.their_message):
        return "members twice in a set: the service lists the members, DynamoDB Local not always"
    number = re.compile(r"\{N:[^}]*\}")
    if "BETWEEN operator requires" in c.message and number.sub("", c.message) == number.sub("", c.their_message):
        return "bounds of BETWEEN: a number is repeated in its canonical form, by DynamoDB Local as it was spelled"
    return None


def same_stage(c):
    """Both refuse, each for another fault of the same kind, whose order is that of a Java hash map or not documented."""
    if c.status != 400 or c.their_status != 400:
        return None
    legacy = ("ComparisonOperator", "ConditionalOperator can", "Duplicate value in attribute name", "Condition parameter type does not match", "Value must be provided when Exists", "action is not supported", "DELETE action with value", "for Attribute:",
        "contains duplicates", "BETWEEN condition was provided a range", "AttributeValues inside AttributeValueList must be of same type", "Supplied AttributeValue is empty",
        "Updates on index keys must be", "Type mismatch for attribute to update", "Only DELETE action", "not an indexable operation", "Query key condition not supported")
    if any(text in c.message for text in legacy) and any(text in c.their_message for text in legacy):
        return "two faults in legacy parameters: which attribute is told first is not documented"
    for text in ("Key attributes must be scalars", "unused in expressions: keys: {"):
        if text in c.message and text in c.their_message:
            return "two faults of one kind: which attribute is told first, or the order of a list of names, is that of a Java hash map"
    both = ("The document path provided in the update expression is invalid for update", "An operand in the update expression has an incorrect data type",
        "refers to an attribute that does not exist in the item", "Number overflow", "Number underflow", "Attempting to store more than 38", "only supports precision")
    if any(text in c.message for text in both) and any(text in c.their_message for text in both):
        return "two faulty actions in one update: which is told first is not documented"
    sets = "Invalid attribute type name found"
    if sets in c.message and sets in c.their_message:
        return "the names of the types come in the order of a Java hash set, which differs between versions of Java"
    page = ("does not project one or more filter attributes", "does not project [", "can only contain non-primary key attributes", "starting key", "Exclusive Start Key", "not an indexable operation", "Key attributes must be scalars", "KeyConditionExpressions cannot", "Size of hashkey", "Aggregated size of all range", "Invalid operator used in KeyCondition", "Condition parameter type does not", "is not supported for global secondary index",
        "Consistent reads are not", "Consistent read cannot be")
    if c.operation in ("Query", "Scan", "Walk") and any(text in c.message for text in page) and any(text in c.their_message for text in page):
        return "two faults of a query or scan that the table's schema tells: which is told first is not documented"
    keys = ("Type mismatch for Index Key", "secondary index key")
    if any(text in c.message for text in keys) and any(text in c.their_message for text in keys):
        return "two faulty index keys, or two faults of one: which is told first is not documented"
    if "may not contain null or empty values" in c.their_message:
        return "a null in place of a key, and another fault: the service takes it for an empty key"
    keys = ("Type mismatch for key", "cannot contain an empty", "Missing the key")
    if any(text in c.message for text in keys) and any(text in c.their_message for text in keys):
        return "two faulty attributes of one key: which is told first is not documented"
    if "Batch" in c.operation and stage(c.status, c.kind, c.message) == stage(c.their_status, c.their_kind, c.their_message) == 5:
        return "two faulty keys or paths in a batch: which is told first is not documented"
    if stage(c.status, c.kind, c.message) == stage(c.their_status, c.their_kind, c.their_message) == 3:
        return "two values that are none: which is told first is that of a Java hash map"
    return None


def java(c):
    if "١" in c.message:
        return "numbers are made of ASCII digits (developer guide, Numbers); DynamoDB Local takes those of other scripts"
    if c.their_kind in ("InternalFailure", "NotJson") and c.kind != "NotJson":
        return "DynamoDB Local fails with 500"
    return None


RULES = [java, types, constraints, lifecycle, deeper, looser, missing_table, key_shape, same_keys, start_key, index_key, nothing_deleted, capacity, updated, ties, last_page, worded, same_stage, earlier]
