"""A node with access keys: signatures of DynamoDB requests by botocore, and the key itself or a signature on every other face."""

import datetime
import hashlib
import http.client
import json
import os
import subprocess
import urllib.parse

import boto3
import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

import harness

KEYS = "AKIDTEST:wJalr/XUtnFEMI+K7MDENG,other:pass:word"
ID, SECRET = "AKIDTEST", "wJalr/XUtnFEMI+K7MDENG"


@pytest.fixture(scope="module")
def guarded():
    """One node that admits two keys."""
    cluster = harness.Cluster(harness.fresh_folder("guarded"), zones="a", environment={"TORC_ACCESS_KEYS": KEYS})
    try:
        cluster.start()
        client(cluster.nodes[0]).create_table(
            TableName="Guarded",
            AttributeDefinitions=[{"AttributeName": "Key", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "Key", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        client(cluster.nodes[0]).get_waiter("table_exists").wait(TableName="Guarded", WaiterConfig={"Delay": 1})
        yield cluster.nodes[0]
    finally:
        cluster.close()


def client(node, key=ID, secret=SECRET, region="us-east-1"):
    return boto3.client(
        "dynamodb",
        endpoint_url=node.url,
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(retries={"max_attempts": 0}),
    )


def error_code(call, **arguments) -> str:
    with pytest.raises(ClientError) as error:
        call(**arguments)
    assert SECRET not in str(error.value)
    return error.value.response["Error"]["Code"]


def send(node, method, path, body=b"", headers=None):
    connection = http.client.HTTPConnection(node.address, timeout=10)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace"), dict(answer.getheaders())
    finally:
        connection.close()


def signed(node, operation, body, signer=botocore.auth.SigV4Auth, service="dynamodb", secret=SECRET, **arguments):
    """A request signed by botocore, not yet sent."""
    headers = {"X-Amz-Target": f"DynamoDB_20120810.{operation}", "Content-Type": "application/x-amz-json-1.0", "Host": node.address}
    request = AWSRequest("POST", node.url + "/", headers=headers, data=b"" if body is None else json.dumps(body).encode())
    signer(Credentials(ID, secret), service, "us-east-1", **arguments).add_auth(request)
    return request


def post(node, request, body=None):
    parts = urllib.parse.urlsplit(request.url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    headers = {name: value for name, value in request.headers.items() if name.lower() != "content-length"}
    status, said, _ = send(node, "POST", path, request.body if body is None else body, headers)
    answer = json.loads(said)
    return status, answer.get("__type", "").rpartition("#")[2], answer


def test_signatures_of_boto3(guarded):
    for dynamodb in (client(guarded), client(guarded, "other", "pass:word", "eu-west-3")):
        dynamodb.put_item(TableName="Guarded", Item={"Key": {"S": "ü"}, "Value": {"B": bytes(300)}})
        assert dynamodb.get_item(TableName="Guarded", Key={"Key": {"S": "ü"}}, ConsistentRead=True)["Item"]["Value"] == {"B": bytes(300)}
    assert error_code(client(guarded, secret="wrong").list_tables) == "InvalidSignatureException"
    assert error_code(client(guarded, secret=SECRET.lower()).list_tables) == "InvalidSignatureException"
    assert error_code(client(guarded, secret="pass:word").list_tables) == "InvalidSignatureException"
    assert error_code(client(guarded, key="AKIDNOBODY").list_tables) == "UnrecognizedClientException"
    status, kind, _ = post(guarded, AWSRequest("POST", guarded.url + "/", headers={"X-Amz-Target": "DynamoDB_20120810.ListTables"}, data=b"{}"))
    assert (status, kind) == (400, "MissingAuthenticationTokenException")
    status, kind, _ = post(
        guarded,
        AWSRequest("POST", guarded.url + "/", headers={"X-Amz-Target": "DynamoDB_20120810.ListTables", "Authorization": harness.basic(KEYS.split(",")[0])}, data=b"{}"),
    )
    assert (status, kind) == (400, "IncompleteSignatureException"), "DynamoDB's face takes signatures only"


def test_what_was_signed_cannot_be_changed(guarded):
    body = {"TableName": "Guarded", "Item": {"Key": {"S": "signed"}}}
    request = signed(guarded, "PutItem", body)
    assert post(guarded, request)[0] == 200
    assert post(guarded, request, request.body.replace(b"signed", b"forged"))[:2] == (400, "InvalidSignatureException")
    request = signed(guarded, "DescribeTable", {"TableName": "Guarded"})
    request.headers.replace_header("X-Amz-Target", "DynamoDB_20120810.DeleteTable")
    assert post(guarded, request)[:2] == (400, "InvalidSignatureException")
    assert post(guarded, signed(guarded, "ListTables", {}, service="s3"))[:2] == (400, "InvalidSignatureException")
    assert "Guarded" in client(guarded).list_tables()["TableNames"]


def test_skew(guarded, monkeypatch):
    def at(minutes):
        def now(*_, **__):
            return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)

        monkeypatch.setattr(botocore.auth, "get_current_datetime", now)
        return post(guarded, signed(guarded, "ListTables", {}))

    for minutes in (-14, 0, 14):
        assert at(minutes)[0] == 200, minutes
    status, kind, answer = at(-16)
    assert (status, kind) == (400, "InvalidSignatureException") and "expired" in answer["message"]
    status, kind, answer = at(16)
    assert (status, kind) == (400, "InvalidSignatureException") and "not yet current" in answer["message"]


class Presigner(botocore.auth.SigV4QueryAuth):
    """botocore presigns without a body; this signs one that is sent along."""

    def payload(self, request):
        return hashlib.sha256(b"{}").hexdigest()


def test_presigned(guarded, monkeypatch):
    def presign(**arguments):
        request = signed(guarded, "ListTables", None, Presigner, **arguments)
        request.data = b"{}"
        return request

    status, _, answer = post(guarded, presign(expires=60))
    assert status == 200 and "Guarded" in answer["TableNames"]
    assert post(guarded, presign(expires=60, secret="wrong"))[:2] == (400, "InvalidSignatureException")
    request = presign(expires=60)
    request.url = request.url.replace("X-Amz-Expires=60", "X-Amz-Expires=6000")
    assert post(guarded, request)[:2] == (400, "InvalidSignatureException")
    past = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=90)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: past)
    status, kind, answer = post(guarded, presign(expires=60))
    assert (status, kind) == (400, "InvalidSignatureException") and "expired" in answer["message"]
    assert post(guarded, presign(expires=120))[0] == 200


def test_buckets_and_administration_ask_for_a_key(guarded):
    for path in ("/health", "/ready", "/"):
        assert send(guarded, "GET", path)[0] == 200, path
    good = {"Authorization": harness.basic(f"{ID}:{SECRET}")}
    faces = [("GET", "/admin/status"), ("GET", "/admin/replicas"), ("GET", "/kv"), ("PUT", "/kv/guarded"), ("PUT", "/kv/guarded/key"), ("GET", "/nowhere")]
    for wrong in ({}, {"Authorization": harness.basic(f"{ID}:wrong")}, {"Authorization": harness.basic("nobody:x")}, {"Authorization": "Basic x"}):
        for method, path in faces:
            status, said, headers = send(guarded, method, path, b"", wrong)
            assert status == 401 and "hint" in said and "Basic" in headers["www-authenticate"], (method, path, wrong, status, said)
    assert send(guarded, "PUT", "/kv/guarded", b'{"n": 1}', good)[0] == 200
    assert send(guarded, "PUT", "/kv/guarded/key", b"value", good)[0] == 204
    assert send(guarded, "GET", "/kv/guarded/key", b"", good)[:2] == (200, "value")
    assert send(guarded, "GET", "/admin/status", b"", good)[0] == 200
    assert send(guarded, "GET", "/kv/guarded/key")[0] == 401


def test_curl_signs_bucket_requests(guarded):
    def curl(*arguments):
        line = ["curl", "-sS", "-w", "\n%{http_code}", *arguments]
        run = subprocess.run(line, capture_output=True, text=True, timeout=20)
        assert run.returncode == 0, run.stderr
        body, _, status = run.stdout.rpartition("\n")
        return int(status), body

    key = f"{guarded.url}/kv/curl/a-key"
    sign = ["--user", f"{ID}:{SECRET}", "--aws-sigv4", "aws:amz:us-east-1:dynamodb"]
    assert curl(*sign, "-X", "PUT", f"{guarded.url}/kv/curl", "--data", '{"n": 1}')[0] == 200
    assert curl(*sign, "-X", "PUT", key, "--data", "signed")[0] == 204
    assert curl(*sign, f"{key}?r=1") == (200, "signed")
    assert curl("--user", f"{ID}:{SECRET}", key) == (200, "signed")
    assert curl("--user", f"{ID}:wrong", "--aws-sigv4", "aws:amz:us-east-1:dynamodb", key)[0] == 401
    assert curl(key)[0] == 401


def test_grpc_asks_for_a_key(guarded):
    def status_of(*arguments):
        line = ["curl", "-sS", "-D", "-", "-o", os.devnull, "--http2-prior-knowledge", "-H", "content-type: application/grpc", "-H", "te: trailers"]
        # An empty ListBucketsRequest in its frame.
        line += ["--data-binary", "@-", *arguments, f"{guarded.url}/torc.kv.v1.Buckets/ListBuckets"]
        run = subprocess.run(line, capture_output=True, timeout=20, input=bytes(5))
        assert run.returncode == 0, run.stderr
        found = [line for line in run.stdout.decode().splitlines() if line.lower().startswith("grpc-status:")]
        return found[-1].split(":")[1].strip() if found else None

    assert status_of() == "16"
    assert status_of("--user", f"{ID}:wrong") == "16"
    assert status_of("--user", f"{ID}:{SECRET}") != "16"


def test_commands_send_the_key(guarded):
    def torc(*arguments, key=None):
        environment = {name: value for name, value in os.environ.items() if name != "TORC_ACCESS_KEY"}
        if key:
            environment["TORC_ACCESS_KEY"] = key
        return subprocess.run([harness.BINARY, *arguments, "--endpoint", guarded.address], capture_output=True, text=True, timeout=30, env=environment)

    refused = torc("status")
    assert refused.returncode != 0 and "TORC_ACCESS_KEY" in refused.stderr
    assert torc("status", key=f"{ID}:{SECRET}").returncode == 0
    assert torc("kv", "put", "commands", "k", "v").returncode != 0
    assert torc("kv", "create", "commands", "-n", "1", key=f"{ID}:{SECRET}").returncode == 0
    assert torc("kv", "put", "commands", "k", "v", key=f"{ID}:{SECRET}").returncode == 0
    assert torc("kv", "get", "commands", "k", key=f"{ID}:{SECRET}").stdout == "v"


def test_no_secret_in_the_log(guarded):
    assert SECRET not in guarded.log_path.read_text() and "pass:word" not in guarded.log_path.read_text()
