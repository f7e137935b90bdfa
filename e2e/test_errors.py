"""Bad input over HTTP: a clear DynamoDB error, no panic, and the node goes on."""

import http.client

import pytest
from botocore.exceptions import ClientError

HEADERS = {
    "Content-Type": "application/x-amz-json-1.0",
    "Authorization": "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=00",
}


def post(node, operation: str, body: bytes):
    connection = http.client.HTTPConnection(node.address, timeout=20)
    try:
        connection.request("POST", "/", body, {**HEADERS, "X-Amz-Target": f"DynamoDB_20120810.{operation}"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except (BrokenPipeError, ConnectionResetError):
        # An oversized body may be cut off before it was read in full.
        return 413, "cut off"
    finally:
        connection.close()


def nested(depth: int) -> bytes:
    value = b'{"S":"x"}'
    for _ in range(depth):
        value = b'{"L":[' + value + b"]}"
    return b'{"TableName":"Things","Item":{"Key":{"S":"k"},"V":' + value + b"}}"


BAD = [
    ("PutItem", b"{", "SerializationException"),
    ("PutItem", b"[1,2]", "SerializationException"),
    ("PutItem", b'{"TableName":7}', "SerializationException"),
    ("PutItem", b'{"TableName":"Things","Item":{"Key":{"S":"k"},"N":{"N":"not a number"}}}', "ValidationException"),
    ("PutItem", b'{"TableName":"Things","Item":{"Key":{"N":"1"}}}', "ValidationException"),
    ("PutItem", b'{"TableName":"Things","Item":{"Other":{"S":"k"}}}', "ValidationException"),
    ("PutItem", nested(40), "ValidationException"),
    ("PutItem", nested(20000), ""),
    ("PutItem", b'{"TableName":"Nothing","Item":{"Key":{"S":"k"}}}', "ResourceNotFoundException"),
    ("MakeCoffee", b"{}", "UnknownOperationException"),
    ("PutItem", b'{"TableName":"Things","Item":{"Key":{"S":"k"},"V":{"S":"' + b"x" * (500 * 1024) + b'"}}}', "ValidationException"),
    ("BatchWriteItem", b" " * (20 * 1024 * 1024), ""),
    ("PutItem", b"\xff\xfe\x00" * 100, "SerializationException"),
]


def test_bad_requests_get_clear_errors_and_the_node_goes_on(single):
    node = single.nodes[0]
    single.create_table("Things", "Key")
    wrong = []
    for operation, body, kind in BAD:
        status, said = post(node, operation, body)
        if not (400 <= status < 500 and kind in said):
            wrong.append(f"{operation} {body[:80]!r}: {status} {said[:200]}, wanted 4xx {kind}")
        assert node.running(), f"{operation} {body[:80]!r} ended the process\n{node.log_tail()}"
    assert not wrong, "\n".join(wrong)
    assert "panicked" not in node.log_path.read_text(errors="replace")
    node.dynamodb().put_item(TableName="Things", Item={"Key": {"S": "still here"}})


def test_conditions_and_updates(single):
    client = single.nodes[0].dynamodb()
    single.create_table("Things", "Key")
    key = {"Key": {"S": "k"}}
    client.put_item(TableName="Things", Item=key, ConditionExpression="attribute_not_exists(#k)", ExpressionAttributeNames={"#k": "Key"})
    with pytest.raises(client.exceptions.ConditionalCheckFailedException):
        client.put_item(TableName="Things", Item=key, ConditionExpression="attribute_not_exists(#k)", ExpressionAttributeNames={"#k": "Key"})
    for wanted in ("1", "2", "3"):
        answer = client.update_item(
            TableName="Things",
            Key=key,
            UpdateExpression="ADD Hits :one",
            ExpressionAttributeValues={":one": {"N": "1"}},
            ReturnValues="ALL_NEW",
        )
        assert answer["Attributes"]["Hits"] == {"N": wanted}
    with pytest.raises(ClientError) as error:
        client.update_item(TableName="Things", Key=key, UpdateExpression="SET = :x", ExpressionAttributeValues={":x": {"N": "1"}})
    assert error.value.response["Error"]["Code"] == "ValidationException"
    got = client.batch_get_item(RequestItems={"Things": {"Keys": [key, {"Key": {"S": "absent"}}]}})
    assert got["Responses"]["Things"] == [{**key, "Hits": {"N": "3"}}] and not got["UnprocessedKeys"]
