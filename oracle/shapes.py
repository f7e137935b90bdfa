"""The JSON types of the requests, from the service model: which bodies must be refused with a SerializationException, and whether a
constraint that Torc says was broken was broken indeed."""

import re

TEXT, FLAG, WHOLE = "text", "flag", "whole"
VALUE = {}
VALUE.update(S=TEXT, N=TEXT, B="blob", BOOL=FLAG, NULL=FLAG, SS=[TEXT], NS=[TEXT], BS=["blob"], L=[VALUE], M=("map", VALUE))
VALUES = ("map", VALUE)
NAMES = ("map", TEXT)
CONDITION = {"AttributeValueList": [VALUE], "ComparisonOperator": TEXT}
EXPECTED = dict(CONDITION, Value=VALUE, Exists=FLAG)
GUARD = {
    "TableName": TEXT, "Expected": ("map", EXPECTED), "ConditionalOperator": TEXT, "ReturnValues": TEXT, "ReturnConsumedCapacity": TEXT,
    "ReturnItemCollectionMetrics": TEXT, "ConditionExpression": TEXT, "ExpressionAttributeNames": NAMES, "ExpressionAttributeValues": VALUES,
    "ReturnValuesOnConditionCheckFailure": TEXT,
}
READ = {"TableName": TEXT, "AttributesToGet": [TEXT], "ConsistentRead": FLAG, "ReturnConsumedCapacity": TEXT, "ProjectionExpression": TEXT, "ExpressionAttributeNames": NAMES}
PAGED = dict(READ, IndexName=TEXT, Select=TEXT, Limit=WHOLE, ConditionalOperator=TEXT, ExclusiveStartKey=VALUES, FilterExpression=TEXT, ExpressionAttributeValues=VALUES)
WRITE = {"PutRequest": {"Item": VALUES}, "DeleteRequest": {"Key": VALUES}}
UNITS = {"ReadCapacityUnits": WHOLE, "WriteCapacityUnits": WHOLE}
KEYS = [{"AttributeName": TEXT, "KeyType": TEXT}]
INDEX = {"IndexName": TEXT, "KeySchema": KEYS, "Projection": {"ProjectionType": TEXT, "NonKeyAttributes": [TEXT]}}
GLOBAL_INDEX = dict(INDEX, ProvisionedThroughput=UNITS)
TABLE = {
    "TableName": TEXT, "AttributeDefinitions": [{"AttributeName": TEXT, "AttributeType": TEXT}], "BillingMode": TEXT, "ProvisionedThroughput": UNITS, "TableClass": TEXT,
    "DeletionProtectionEnabled": FLAG, "StreamSpecification": {"StreamEnabled": FLAG, "StreamViewType": TEXT},
}
REQUESTS = {
    "PutItem": dict(GUARD, Item=VALUES),
    "DeleteItem": dict(GUARD, Key=VALUES),
    "UpdateItem": dict(GUARD, Key=VALUES, UpdateExpression=TEXT, AttributeUpdates=("map", {"Value": VALUE, "Action": TEXT})),
    "GetItem": dict(READ, Key=VALUES),
    "Query": dict(PAGED, ScanIndexForward=FLAG, KeyConditionExpression=TEXT, KeyConditions=("map", CONDITION), QueryFilter=("map", CONDITION)),
    "Scan": dict(PAGED, Segment=WHOLE, TotalSegments=WHOLE, ScanFilter=("map", CONDITION)),
    "BatchGetItem": {"RequestItems": ("map", dict(READ, TableName=None, Keys=[VALUES])), "ReturnConsumedCapacity": TEXT},
    "BatchWriteItem": {"RequestItems": ("map", [WRITE]), "ReturnConsumedCapacity": TEXT, "ReturnItemCollectionMetrics": TEXT},
    "CreateTable": dict(TABLE, KeySchema=KEYS, LocalSecondaryIndexes=[INDEX], GlobalSecondaryIndexes=[GLOBAL_INDEX], Tags=[{"Key": TEXT, "Value": TEXT}]),
    "UpdateTable": dict(TABLE, GlobalSecondaryIndexUpdates=[{"Create": GLOBAL_INDEX, "Update": GLOBAL_INDEX, "Delete": GLOBAL_INDEX}]),
    "DescribeTable": {"TableName": TEXT},
    "DeleteTable": {"TableName": TEXT},
    "ListTables": {"ExclusiveStartTableName": TEXT, "Limit": WHOLE},
    "UpdateTimeToLive": {"TableName": TEXT, "TimeToLiveSpecification": {"Enabled": FLAG, "AttributeName": TEXT}},
    "DescribeTimeToLive": {"TableName": TEXT},
}
REQUESTS["Walk"] = dict(REQUESTS["Query"], **REQUESTS["Scan"])


def misfit(operation, body):
    """Whether a member has a JSON type that the service model does not give it."""
    return not fits(REQUESTS[operation], body)


def fits(shape, value):
    if value is None or shape is None:
        return True
    if isinstance(shape, dict):
        return isinstance(value, dict) and all(fits(shape.get(name), inner) for name, inner in value.items())
    if isinstance(shape, tuple):
        return isinstance(value, dict) and all(fits(shape[1], inner) for inner in value.values())
    if isinstance(shape, list):
        return isinstance(value, list) and all(fits(shape[0], inner) for inner in value)
    if shape == WHOLE:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if shape == FLAG:
        return isinstance(value, bool) or (isinstance(value, str) and value.lower() in ("true", "false", "yes", "no"))
    if shape == "blob":
        return isinstance(value, str) and re.fullmatch(r"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", value) is not None
    return isinstance(value, str)


ENUMERATIONS = {
    "returnConsumedCapacity": {"INDEXES", "TOTAL", "NONE"},
    "returnItemCollectionMetrics": {"SIZE", "NONE"},
    "returnValues": {"ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW"},
    "returnValuesOnConditionCheckFailure": {"ALL_OLD", "NONE"},
    "select": {"SPECIFIC_ATTRIBUTES", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES"},
    "conditionalOperator": {"OR", "AND"},
    "comparisonOperator": {"IN", "NULL", "BETWEEN", "LT", "NOT_CONTAINS", "EQ", "GT", "NOT_NULL", "NE", "LE", "BEGINS_WITH", "GE", "CONTAINS"},
    "action": {"ADD", "DELETE", "PUT"},
    "billingMode": {"PROVISIONED", "PAY_PER_REQUEST"},
    "tableClass": {"STANDARD", "STANDARD_INFREQUENT_ACCESS"},
    "streamViewType": {"NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES", "KEYS_ONLY"},
    "keyType": {"HASH", "RANGE"},
    "attributeType": {"B", "N", "S"},
    "projectionType": {"ALL", "INCLUDE", "KEYS_ONLY"},
}
REQUIRED = {"tableName", "item", "key", "requestItems", "keys", "comparisonOperator", "keySchema", "attributeDefinitions", "attributeName", "keyType", "attributeType", "indexName",
    "projection", "readCapacityUnits", "writeCapacityUnits", "streamEnabled", "timeToLiveSpecification", "enabled", "value"}
# Least and most: of a number, or of the length of a text, list or map.
BOUNDS = {
    "limit": (1, None), "segment": (0, 999_999), "totalSegments": (1, 1_000_000), "tableName": (1, 1024), "indexName": (3, 255), "requestItems": (1, 100), "keys": (1, 100),
    "attributesToGet": (1, None), "keySchema": (1, 2), "attributeName": (1, 255), "nonKeyAttributes": (1, 20), "readCapacityUnits": (1, None), "writeCapacityUnits": (1, None),
    "exclusiveStartTableName": (3, 255), "value": (0, 256), "key": (1, 128),
}
FAULT = re.compile(r"Value (null|'.*?') at '(.*?)' failed to satisfy constraint: (.*?)(?=; Value (?:null|')|$)", re.S)


def proven(body, message):
    """Whether every broken constraint that a message lists is one of the service model, and is broken by the request."""
    faults = FAULT.findall(message)
    counted = re.match(r"(\d+) validation errors? detected: ", message)
    if not counted or int(counted[1]) != len(faults):
        return False
    return all(one_proven(body, *fault) for fault in faults)


def one_proven(body, value, path, constraint):
    names = [name for name in path.split(".") if name != "member"]
    last = re.sub(r"\d+$", "", names[-1]) or (names[-2] if len(names) > 1 else names[-1])
    if "Member must not be null" in constraint:
        return value == "null" and last in REQUIRED and absent(body, names)
    if "enum value set" in constraint:
        told = set(re.search(r"\[(.*)\]", constraint)[1].split(", "))
        return told == ENUMERATIONS.get(last) and value.strip("'") not in told
    if "regular expression pattern: [a-zA-Z0-9_.-]+" in constraint:
        return re.fullmatch("[a-zA-Z0-9_.-]+", value.strip("'")) is None
    if "requestItems" in path or constraint.startswith("Map value"):
        return True
    bound = re.search(r"(greater|less) than or equal to (\d+)", constraint)
    if not bound:
        return False
    least, most = BOUNDS.get(last, (None, None))
    size = len(value) - 2 if "length" in constraint and not value.startswith("'[") else None
    if "value" in constraint.split("Member must have ")[1][:6]:
        size = int(value.strip("'"))
    edge = int(bound[2])
    if bound[1] == "greater":
        # The name of a table has a shorter bound once it is no ARN.
        return (edge == least or (last == "tableName" and edge == 3) or last.startswith("nonKey")) and (size is None or size < edge)
    return (edge == most or edge in (255, 100)) and (size is None or size > edge)


def absent(body, names):
    for at, name in enumerate(names):
        if isinstance(body, list):
            body = body[int(name) - 1]
        elif isinstance(body, dict):
            body = body.get(name, body.get(name[0].upper() + name[1:]))
        if body is None:
            return True
    return False
