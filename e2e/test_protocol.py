"""DynamoDB's protocol below its operations: paths, content types, encodings, sizes; and STS beside it."""

import gzip
import http.client
import json
import zlib

import boto3
import pytest
from botocore.exceptions import ClientError

import harness

KEYS = "AKIDTEST:wJalr/XUtnFEMI+K7MDENG"
ITEM = {"TableName": "Protocol", "Key": {"Key": {"S": "k"}}}


@pytest.fixture(scope="module")
def node():
    cluster = harness.Cluster(harness.fresh_folder("protocol"), zones="a")
    try:
        cluster.start()
        cluster.create_table("Protocol", "Key")
        put = {"TableName": "Protocol", "Item": {"Key": {"S": "k"}, "V": {"S": "x" * 5000}}}
        assert ask(cluster.nodes[0], "PutItem", put)[0] == 200
        yield cluster.nodes[0]
    finally:
        cluster.close()


def ask(node, operation, body, path="/", **headers):
    connection = http.client.HTTPConnection(node.address, timeout=20)
    try:
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        target = {"X-Amz-Target": operation if "." in operation else f"DynamoDB_20120810.{operation}"}
        connection.request("POST", path, body, {**target, **headers})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def test_the_path_and_the_content_type_do_not_matter(node):
    """DynamoDB Local's answer; no AWS document settles them."""
    for path in ("/", "/any/path", "/kv/Protocol/k", "/health", "/?a=b"):
        status, headers, body = ask(node, "GetItem", ITEM, path)
        assert status == 200 and b'"Item"' in body, path
        assert headers["content-type"] == "application/x-amz-json-1.0"
        assert headers["server"] == "Server"
    for sent, answered in (
        ("application/x-amz-json-1.0", "application/x-amz-json-1.0"),
        ("application/x-www-form-urlencoded", "application/x-amz-json-1.0"),
        ("application/json; charset=utf-8", "application/json"),
    ):
        status, headers, _ = ask(node, "GetItem", ITEM, **{"Content-Type": sent})
        assert status == 200 and headers["content-type"] == answered, sent


def test_encodings(node):
    """RFC 9110, section 8.4.1; no AWS document settles which encodings are taken."""
    body = json.dumps(ITEM).encode()
    bare = zlib.compressobj(wbits=-15)
    for name, packed in (
        ("gzip", gzip.compress(body)),
        ("gzip", gzip.compress(body[:9]) + gzip.compress(body[9:])),
        ("deflate", zlib.compress(body)),
        ("deflate", bare.compress(body) + bare.flush()),
    ):
        status, _, answer = ask(node, "GetItem", packed, **{"Content-Encoding": name})
        assert status == 200 and b'"Item"' in answer, name
    assert ask(node, "GetItem", body, **{"Content-Encoding": "br"})[0] == 400
    for accept, name, unpack in (("gzip, deflate", "gzip", gzip.decompress), ("deflate", "deflate", zlib.decompress)):
        _, headers, answer = ask(node, "GetItem", ITEM, **{"Accept-Encoding": accept})
        assert headers["content-encoding"] == name
        assert headers["x-amz-crc32"] == str(zlib.crc32(answer))
        assert len(json.loads(unpack(answer))["Item"]["V"]["S"]) == 5000
    _, headers, _ = ask(node, "DescribeLimits", {}, **{"Accept-Encoding": "gzip"})
    assert "content-encoding" not in headers


def test_sizes(node):
    """API reference, BatchWriteItem: "the total request size exceeds 16 MB"; no AWS document settles the size of headers."""
    sized = lambda size: b'{"TableName":"Protocol","Key":{"Key":{"S":"k"}}' + b" " * (size - 48) + b"}"
    assert len(sized(100)) == 100
    assert ask(node, "GetItem", sized(16 << 20))[0] == 200
    assert ask(node, "GetItem", gzip.compress(sized((16 << 20) + 1)), **{"Content-Encoding": "gzip"})[0] == 413
    try:
        assert ask(node, "GetItem", sized((16 << 20) + 1))[0] == 413
    except (BrokenPipeError, ConnectionResetError):
        pass  # Cut off before it was sent in full.
    assert ask(node, "GetItem", ITEM, **{"X-Long": "a" * 15_000})[0] == 200
    assert ask(node, "GetItem", ITEM, **{"X-Long": "a" * 17_000})[0] == 431


def test_operations_that_are_not_served_say_so(node):
    client = node.dynamodb(retries=0)
    with pytest.raises(ClientError) as refused:
        client.execute_statement(Statement="SELECT * FROM Protocol")
    error = refused.value.response["Error"]
    assert error["Code"] == "UnknownOperationException"
    assert error["Message"] == "Torc does not serve the operation ExecuteStatement of DynamoDB."
    _, _, body = ask(node, "DynamoDBStreams_20120810.ListStreams", {})
    assert "Torc serves no API with the target DynamoDBStreams_20120810.ListStreams" in json.loads(body)["Message"]


def test_what_delete_table_answers(node):
    """AWS CLI reference, delete-table, Output."""
    client = node.dynamodb()
    client.create_table(
        TableName="Gone",
        AttributeDefinitions=[{"AttributeName": "p", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "p", "KeyType": "HASH"}],
        ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 5},
    )
    client.get_waiter("table_exists").wait(TableName="Gone", WaiterConfig={"Delay": 1})
    description = client.delete_table(TableName="Gone")["TableDescription"]
    assert description["TableStatus"] == "DELETING"
    assert description["ProvisionedThroughput"] == {"NumberOfDecreasesToday": 0, "ReadCapacityUnits": 5, "WriteCapacityUnits": 5}
    assert set(description) == {
        "TableName", "TableStatus", "ProvisionedThroughput", "TableSizeBytes", "ItemCount", "TableArn", "TableId", "DeletionProtectionEnabled"
    }


def test_policies_that_are_not_there(node):
    """API reference, GetResourcePolicy and PutResourcePolicy, Errors; no AWS document has the texts."""
    client = node.dynamodb(retries=0)
    arn = client.describe_table(TableName="Protocol")["Table"]["TableArn"]

    def refused(call, **parameters):
        with pytest.raises(ClientError) as refusal:
            call(**parameters)
        return refusal.value.response["Error"]["Code"]

    assert refused(client.get_resource_policy, ResourceArn=arn) == "PolicyNotFoundException"
    assert refused(client.get_resource_policy, ResourceArn=arn.replace("Protocol", "Absent")) == "ResourceNotFoundException"
    assert refused(client.put_resource_policy, ResourceArn=arn, Policy="{}", ExpectedRevisionId="1") == "PolicyNotFoundException"
    elsewhere = arn.replace("000000000000", "111111111111").replace("Protocol", "Absent")
    assert refused(client.list_tags_of_resource, ResourceArn=elsewhere) == "AccessDeniedException"


def sts(node, key="any", secret="any"):
    return boto3.client(
        "sts", endpoint_url=node.url, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret
    )


def test_who_am_i(node):
    """STS API reference, GetCallerIdentity."""
    identity = sts(node).get_caller_identity()
    assert identity["Account"] == "000000000000" and identity["Arn"] == "arn:aws:iam::000000000000:root"
    with pytest.raises(ClientError) as refused:
        sts(node).assume_role(RoleArn="arn:aws:iam::000000000000:role/abc-def-ghi", RoleSessionName="session")
    assert refused.value.response["Error"]["Code"] == "InvalidAction"
    assert "AssumeRole" in refused.value.response["Error"]["Message"]


def test_who_am_i_with_an_access_key(folder):
    cluster = harness.Cluster(folder, zones="a", environment={"TORC_ACCESS_KEYS": KEYS})
    try:
        node = cluster.start().nodes[0]
        key, _, secret = KEYS.partition(":")
        identity = sts(node, key, secret).get_caller_identity()
        assert identity["Arn"] == f"arn:aws:iam::000000000000:user/{key}" and identity["UserId"] == key
        with pytest.raises(ClientError) as refused:
            sts(node, key, "wrong").get_caller_identity()
        assert refused.value.response["Error"]["Code"] == "SignatureDoesNotMatch"
    finally:
        cluster.close()
