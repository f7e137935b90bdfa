"""Test suites of other projects, written for DynamoDB Local, unmodified: only the endpoint is Torc's.

They are not part of this repository: `run.sh` downloads each at the version that `suites/` pins.

* `dynamodb`, an object mapper for JavaScript: its integration tests. They speak to localhost:8000, DynamoDB Local's port.
* `connect-dynamodb`, a session store for web applications: all its tests.
* `aiodynamo`, an asynchronous client for Python with its own signer and retries: its integration tests, over both of its HTTP libraries.
"""

import json
import os
import socket
import subprocess
import xml.etree.ElementTree as ET

import pytest
from harness import HOME, Cluster, eventually

SUITES = HOME / "suites"
NODE_TESTS = SUITES / "node_modules"
AIODYNAMO = next(SUITES.glob("aiodynamo-*/"), SUITES / "aiodynamo")
LOCAL_PORT = 8000

# DynamoDB Local leaves NumberOfDecreasesToday out of an index's throughput, and these tests compare the whole object. AWS's answer to
# CreateTable has it: https://docs.aws.amazon.com/cli/latest/reference/dynamodb/create-table.html, example 5.
LOCAL_ONLY = {
    "Create Tables Integration Tests should create table with global index",
    "Create Tables Integration Tests should create table with global index with optional settings",
    "Create Tables Integration Tests should create table with global and local indexes",
}


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def mocha(run_folder, *files, **environment) -> tuple[set[str], set[str]]:
    """Runs test files; the full titles of what passed and of what failed."""
    report = run_folder / "report.json"
    command = [NODE_TESTS / ".bin" / "mocha", "--exit", "--timeout", "20000", "--reporter", "json"]
    command += ["--reporter-option", f"output={report}", *files]
    environment = {**os.environ, "AWS_REGION": "us-west-2", **environment}
    done = subprocess.run(command, cwd=SUITES, env=environment, capture_output=True, text=True, timeout=300)
    assert report.exists(), done.stdout[-4000:] + done.stderr[-4000:]
    results = json.loads(report.read_text())
    for failure in results["failures"]:
        print(failure["fullTitle"], failure["err"].get("message"))
    assert not results["pending"], results["pending"]
    return {test["fullTitle"] for test in results["passes"]}, {test["fullTitle"] for test in results["failures"]}


@pytest.fixture
def local(folder):
    """A node where DynamoDB Local would be."""
    cluster = Cluster(folder, zones="a")
    eventually(f"port {LOCAL_PORT} is free", 60, lambda: is_free(LOCAL_PORT))
    cluster.nodes[0].port = LOCAL_PORT
    try:
        yield cluster.start()
    finally:
        cluster.close()


def test_the_object_mapper_dynamodb(local, folder):
    passed, failed = mocha(folder, *sorted((NODE_TESTS / "dynamodb" / "test" / "integration").glob("*-test.js")))
    assert failed == LOCAL_ONLY
    assert len(passed) == 69


def test_the_session_store_connect_dynamodb(single, folder):
    passed, failed = mocha(folder, NODE_TESTS / "connect-dynamodb" / "test" / "test.js", ENDPOINT=single.nodes[0].url)
    assert not failed
    assert len(passed) == 14


def test_the_client_aiodynamo(single, folder):
    report = folder / "report.xml"
    command = [SUITES / "venv" / "bin" / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    environment = {**os.environ, "DYNAMODB_URL": single.nodes[0].url}
    done = subprocess.run(
        [*command, "tests/integration"], cwd=AIODYNAMO, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    cases = list(ET.parse(report).iter("testcase"))
    # The suite asks whether transactions are served, and leaves them out if not.
    skipped = [case.find("skipped") for case in cases if case.find("skipped") is not None]
    skipped = [skip for skip in skipped if skip.get("type") != "pytest.xfail"]
    assert {skip.get("message") for skip in skipped} <= {"Transactions not supported"}
    assert len(cases) - len(skipped) >= 104
