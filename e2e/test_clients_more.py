"""Unmodified clients in JavaScript and Rust: SDK v3 (client and DocumentClient), Dynamoose, ElectroDB, dynamodb-admin, aws-sdk-dynamodb."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

import harness
from harness import HOME


@pytest.mark.parametrize("script", ["sdk", "dynamoose", "electro"])
def test_javascript(shared, script):
    command = ["node", str(HOME / "js" / f"{script}.mjs"), shared.nodes[0].url]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, env=dict(os.environ))
    assert run.returncode == 0 and run.stdout.splitlines()[-1] == "ok", f"{run.stdout}\n{run.stderr}"


class Admin:
    """dynamodb-admin as its user's browser drives it."""

    def __init__(self, url: str, folder: Path):
        self.port = harness.free_port()
        self.log = folder / "dynamodb-admin.log"
        command = ["node", str(HOME / "js" / "node_modules" / "dynamodb-admin" / "dist" / "dynamodb-admin.js")]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [*command, "--host", "127.0.0.1", "--port", str(self.port), "--dynamo-endpoint", url],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def __call__(self, method: str, path: str, body=None) -> str:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from None

    def close(self):
        self.process.kill()
        self.process.wait()


def test_dynamodb_admin(single, folder):
    # One node: it reads back what it wrote with an eventual read, which a follower may answer a moment later.
    admin = Admin(single.nodes[0].url, folder)
    try:
        harness.eventually("dynamodb-admin answers", 20, lambda: "<html" in admin("GET", "/").lower())
        definition = {"HashAttributeName": "Id", "HashAttributeType": "S", "RangeAttributeName": "At", "RangeAttributeType": "N"}
        definition |= {"TableName": "AdminTable", "ReadCapacityUnits": 3, "WriteCapacityUnits": 3}
        index = {"IndexName": "ByKind", "IndexType": "local", "HashAttributeName": "Id", "HashAttributeType": "S"}
        index |= {"RangeAttributeName": "Kind", "RangeAttributeType": "S"}
        everywhere = {"IndexName": "OfKind", "IndexType": "global", "HashAttributeName": "Kind", "HashAttributeType": "S"}
        everywhere |= {"RangeAttributeName": "At", "RangeAttributeType": "N", "ReadCapacityUnits": 3, "WriteCapacityUnits": 3}
        admin("POST", "/create-table", {"TableDefinition": definition, "SecondaryIndexes": [index, everywhere]})
        harness.eventually("the table is active", 20, lambda: tables(admin)["AdminTable"]["TableStatus"] == "ACTIVE")
        assert "AdminTable" in admin("GET", "/")
        assert "AdminTable" in admin("GET", "/tables/AdminTable")
        assert "ByKind" in admin("GET", "/tables/AdminTable/meta")
        assert "AdminTable" in admin("GET", "/tables/AdminTable/ttl")

        for at in range(30):
            item = {"Id": "one", "At": at, "Kind": "even" if at % 2 == 0 else "odd", "Tags": ["a", {"b": None}]}
            assert json.loads(admin("PUT", "/tables/AdminTable/add-item", item)) == {"Id": "one", "At": at}
        first = items(admin, pageSize=10)
        assert [item["At"] for item in first["Items"]] == list(range(10)) and first["nextKey"]
        assert first["Items"][0]["Tags"] == ["a", {"b": None}]
        second = items(admin, pageSize=10, startKey=urllib.parse.unquote(first["nextKey"]))
        assert [item["At"] for item in second["Items"]] == list(range(10, 20))
        filters = json.dumps({"Id": {"type": "S", "operator": "=", "value": "one"}, "At": {"type": "N", "operator": ">=", "value": "27"}})
        assert [item["At"] for item in items(admin, operationType="query", filters=filters)["Items"]] == [27, 28, 29]
        assert "OfKind" in admin("GET", "/tables/AdminTable/meta")
        filters = json.dumps({"Kind": {"type": "S", "operator": "=", "value": "odd"}, "At": {"type": "N", "operator": ">", "value": "24"}})
        of_kind = lambda: [item["At"] for item in items(admin, operationType="query", queryableSelection="OfKind", filters=filters)["Items"]]
        harness.eventually("the global index has followed", 20, lambda: of_kind() == [25, 27, 29])
        filters = json.dumps({"Kind": {"type": "S", "operator": "begins_with", "value": "ev"}})
        assert len(items(admin, filters=filters)["Items"]) == 15

        assert "odd" in admin("GET", "/tables/AdminTable/items/one,3")
        edited = json.loads(admin("PUT", "/tables/AdminTable/items/one,3", {"Id": "one", "At": 3, "Kind": "edited"}))
        assert edited == {"Id": "one", "At": 3, "Kind": "edited"}
        assert items(admin, pageSize=4)["Items"][3]["Kind"] == "edited"
        admin("DELETE", "/tables/AdminTable/items/one,3")
        assert [item["At"] for item in items(admin, pageSize=4)["Items"]] == [0, 1, 2, 4]
        with pytest.raises(AssertionError, match="404"):
            admin("GET", "/tables/AdminTable/items/one,3")
        with pytest.raises(AssertionError, match="Type mismatch|ValidationException|One or more parameter values"):
            admin("PUT", "/tables/AdminTable/add-item", {"Id": 7, "At": "x"})
        admin("DELETE", "/tables/AdminTable/all")
        assert items(admin)["Items"] == []
        admin("DELETE", "/tables/AdminTable")
        harness.eventually("the table is gone", 20, lambda: "AdminTable" not in tables(admin))
    finally:
        admin.close()


def tables(admin) -> dict:
    return {table["TableName"]: table for table in json.loads(admin("GET", "/api/tables"))}


def items(admin, **parameters) -> dict:
    return json.loads(admin("GET", f"/tables/AdminTable/items?{urllib.parse.urlencode(parameters)}"))


def test_rust_sdk(shared):
    """Its own workspace, so that building it never builds Torc and the other way round."""
    source = Path(__file__).parent / "rust"
    environment = {**os.environ, "CARGO_TARGET_DIR": os.environ.get("TORC_E2E_RUST_TARGET") or str(HOME / "rust")}
    began = time.monotonic()
    build = subprocess.run(
        ["cargo", "build", "--quiet", "--locked", "--manifest-path", str(source / "Cargo.toml")],
        capture_output=True,
        text=True,
        timeout=1200,
        env=environment,
    )
    assert build.returncode == 0, build.stderr
    print(f"\nbuilt in {time.monotonic() - began:.0f} s")
    binary = Path(environment["CARGO_TARGET_DIR"]) / "debug" / "torc-e2e-rust-sdk"
    run = subprocess.run([binary, shared.nodes[1].url], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0 and run.stdout.splitlines()[-1] == "ok", f"{run.stdout}\n{run.stderr}"
