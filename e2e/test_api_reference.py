"""The examples of AWS's API reference, operation by operation, and every operation that the service model has.

api_reference.json holds the examples as facts: what is asked and what is answered, in the order in which they build on each other.
"""

import http.client
import json
import time
from pathlib import Path

import botocore.session
import pytest

STEPS = json.loads((Path(__file__).parent / "api_reference.json").read_text())
HEADERS = {
    "Content-Type": "application/x-amz-json-1.0",
    "Authorization": "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=00",
}


def post(node, operation, request):
    connection = http.client.HTTPConnection(node.address, timeout=20)
    try:
        connection.request("POST", "/", json.dumps(request), {**HEADERS, "X-Amz-Target": f"DynamoDB_20120810.{operation}"})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.getheader("Content-Type") == "application/x-amz-json-1.0", f"{operation}: {text[:200]}"
        assert answer.getheader("x-amzn-RequestId") and answer.getheader("x-amz-crc32"), operation
        return answer.status, json.loads(text) if text else {}
    finally:
        connection.close()


def plain(value, ordered, name=""):
    """Sets, and lists whose order nobody promises, in one order."""
    if isinstance(value, dict):
        return {key: plain(inner, ordered, key) for key, inner in value.items()}
    if isinstance(value, list):
        inner = [plain(one, ordered) for one in value]
        if name in ("SS", "NS", "BS", "AttributeDefinitions", "ConsumedCapacity") or (not ordered and name not in ("KeySchema", "TableNames")):
            inner.sort(key=lambda one: json.dumps(one, sort_keys=True))
        return inner
    return value


def part_of(expected, got):
    if isinstance(expected, dict):
        return isinstance(got, dict) and all(key in got and part_of(inner, got[key]) for key, inner in expected.items())
    if isinstance(expected, list):
        return isinstance(got, list) and len(got) == len(expected) and all(map(part_of, expected, got))
    return expected == got


def settle(node, request):
    """Waits until the table and its indexes are what they are to be."""
    for _ in range(1000):
        status, body = post(node, "DescribeTable", {"TableName": request["TableName"]})
        indexes = body["Table"].get("GlobalSecondaryIndexes", []) if status == 200 else []
        if status != 200 or (body["Table"]["TableStatus"] == "ACTIVE" and all(one["IndexStatus"] == "ACTIVE" for one in indexes)):
            return
        time.sleep(0.02)


def answers(step, got):
    ordered = step.get("ordered", False)
    expected, got = plain(step["answer"], ordered), plain(got, ordered)
    return part_of(expected, got) if step.get("partial") else expected == got


def check(node, step):
    status, got = post(node, step["operation"], step["request"])
    for _ in range(500 if step.get("eventually") else 0):
        # A global index follows its table a moment later.
        if status != 200 or answers(step, got):
            break
        time.sleep(0.02)
        status, got = post(node, step["operation"], step["request"])
    told = f"{step['what']}: {json.dumps(step['request'])}\n{status} {json.dumps(got)}"
    if "error" in step:
        kind, message = step["error"]
        said = got.get("message", got.get("Message", ""))
        assert status == 400 and got["__type"].endswith("#" + kind), told
        assert said.startswith(message) if step.get("starts") else said == message, told
        assert plain(got.get("Item"), False) == plain(step.get("item"), False), told
        return
    assert status == 200 and answers(step, got), told
    if step["operation"] in ("CreateTable", "UpdateTable", "DeleteTable"):
        settle(node, step["request"])


def test_the_examples_of_the_reference(single):
    for step in STEPS:
        check(single.nodes[0], step)


def sample(shape, name):
    """A value of a shape that breaks none of its constraints."""
    if shape.type_name == "structure":
        if shape.name == "AttributeValue":
            return {"S": "a"}
        return {member: sample(shape.members[member], member) for member in shape.required_members}
    if shape.type_name == "list":
        return [sample(shape.member, name)]
    if shape.type_name == "map":
        return {"Things": sample(shape.value, name)}
    if shape.type_name == "boolean":
        return True
    if shape.type_name in ("integer", "long"):
        return 1
    if shape.type_name in ("double", "timestamp"):
        return 1.0
    if getattr(shape, "enum", None):
        return shape.enum[0]
    if "Arn" in name:
        return "arn:aws:dynamodb:us-east-1:000000000000:table/Things"
    return "Things"


FRAMEWORK = {"ValidationException", "SerializationException", "UnknownOperationException", "AccessDeniedException"}


@pytest.mark.parametrize("exists", [False, True], ids=["without its table", "with its table"])
def test_every_operation_of_the_service_model_answers_in_its_own_way(single, exists):
    node = single.nodes[0]
    if exists:
        single.create_table("Things", "Things")
    model = botocore.session.get_session().get_service_model("dynamodb")
    assert len(model.operation_names) >= 57
    wrong = []
    for name in sorted(model.operation_names):
        operation = model.operation_model(name)
        known = FRAMEWORK | {shape.name for shape in operation.error_shapes}
        full = sample(operation.input_shape, name) if operation.input_shape else {}
        for request in ({}, full, {"Unknown": 1}, dict(full, TableName=7)):
            if name == "CreateTable" and request == full:
                continue
            status, body = post(node, name, request)
            kind = body.get("__type", "").rpartition("#")[2]
            if status not in (200, 400) or (status == 400 and kind not in known):
                wrong.append(f"{name} {json.dumps(request)}: {status} {body}")
        if exists:
            # An earlier one may have deleted it.
            status, _ = post(node, "DescribeTable", {"TableName": "Things"})
            settle(node, {"TableName": "Things"})
            if status != 200:
                single.create_table("Things", "Things")
    assert not wrong, "\n".join(wrong)
