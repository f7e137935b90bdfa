"""Bad input over HTTP: a clear DynamoDB error, no panic, and the node goes on."""

import http.client
import random
import socket

import pytest
from botocore.exceptions import ClientError

from buckets import Bucket

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


BAD_BUCKET_REQUESTS = [
    ("GET", "/kv/nothing/key", b"", {}, 404),
    ("PUT", "/kv/things", b"{", {}, 400),
    ("PUT", "/kv/things", b'{"n": 0}', {}, 400),
    ("PUT", "/kv/things", b'{"copies": 3}', {}, 400),
    ("PUT", "/kv/carts/key?w=most", b"v", {}, 400),
    ("PUT", "/kv/carts/key?w=9", b"v", {}, 400),
    ("GET", "/kv/carts/key?r=0", b"", {}, 400),
    ("GET", "/kv/carts/key?rr=1", b"", {}, 400),
    ("GET", "/kv/carts/%zz", b"", {}, 400),
    ("PUT", "/kv/carts/key", b"v", {"x-torc-context": "not one of ours"}, 400),
    ("PUT", "/kv/carts/key", b"v", {"x-torc-context": "AAAAAAAA"}, 400),
    ("PUT", "/kv/carts/key", b"x" * (30 << 20), {}, 413),
    ("PATCH", "/kv/carts/key", b"v", {}, 405),
    ("POST", "/kv", b"", {}, 405),
    ("PUT", "/kv/carts", b'{"n": 3}', {}, 409),
    ("GET", "/nowhere", b"", {}, 404),
    ("GET", "/admin/replicas?digest=perhaps", b"", {}, 400),
]


def test_bad_bucket_requests_get_clear_errors(single):
    node = single.nodes[0]
    bucket = Bucket(node.url, "carts")
    assert bucket.create(n=1).status == 200
    wrong = []
    for method, path, body, headers, wanted in BAD_BUCKET_REQUESTS:
        try:
            answer = bucket.request(method, path, body, headers)
        except (BrokenPipeError, ConnectionResetError):
            # An oversized body may be cut off before it was read in full.
            assert wanted == 413, (method, path)
            continue
        if answer.status != wanted or not answer.body:
            wrong.append(f"{method} {path} {body[:40]!r}: {answer}, wanted {wanted}")
        assert node.running(), f"{method} {path} ended the process\n{node.log_tail()}"
    assert not wrong, "\n".join(wrong)
    assert bucket.put("key", b"still here").status < 300
    assert bucket.get("key").body == b"still here"


def test_garbage_on_both_ports_does_not_disturb(single):
    node = single.nodes[0]
    single.create_table("Things", "Key")
    luck = random.Random(7)
    openings = [b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", b"GET "]
    for opening in openings:
        for port in (node.port, node.cluster_port):
            for _ in range(5):
                with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                    try:
                        connection.sendall(opening + luck.randbytes(2000))
                    except (BrokenPipeError, ConnectionResetError):
                        pass
    assert node.running(), node.log_tail()
    assert "panicked" not in node.log_path.read_text(errors="replace")
    node.dynamodb().put_item(TableName="Things", Item={"Key": {"S": "still here"}})
