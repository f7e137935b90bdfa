"""Fixtures: a fresh cluster for each test, its logs kept when the test fails."""

import os
import re
import shutil

import pytest

import harness


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    setattr(item, f"report_{report.when}", report)
    return report


@pytest.fixture
def folder(request):
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", request.node.name)
    path = harness.fresh_folder(name)
    yield path
    report = getattr(request.node, "report_call", None)
    if report is not None and report.passed and not os.environ.get("TORC_E2E_KEEP"):
        shutil.rmtree(path, ignore_errors=True)
    else:
        for log in sorted(path.glob("*.log")):
            tail = log.read_text(errors="replace").splitlines()[-60:]
            print(f"\n----- {log} (last {len(tail)} lines)\n" + "\n".join(tail))


@pytest.fixture
def cluster(folder):
    """Three nodes in three zones."""
    cluster = harness.Cluster(folder)
    try:
        yield cluster.start()
    finally:
        cluster.close()


@pytest.fixture
def single(folder):
    """One node alone."""
    cluster = harness.Cluster(folder, zones="a")
    try:
        yield cluster.start()
    finally:
        cluster.close()


@pytest.fixture(scope="module")
def shared():
    """Three nodes in three zones for all tests of a module, which name their tables apart. Logs are kept."""
    cluster = harness.Cluster(harness.fresh_folder("shared"))
    try:
        yield cluster.start()
    finally:
        cluster.close()
