"""Many large bodies at once: each client gets an answer in time, and the others hardly notice."""

import http.client
import json
import threading
import time

import pytest

from test_heavy import SmallWrites, percentile

CLIENTS = 40
# Beyond the largest body of DynamoDB's API, and the largest one.
BODIES = (23_000_000, 16 << 20)
# No SDK waits longer than this for an answer by default.
IN_TIME = 30.0
# What the others may notice.
P99_SECONDS = 0.1


@pytest.mark.parametrize("size", BODIES)
def test_forty_large_bodies_at_once(single, size):
    node = single.nodes[0]
    single.create_table("Large", "Id")
    single.create_table("Small", "Id")
    item = {"Id": {"S": "x"}, "V": {"S": "v" * 390_000}}
    puts = [{"PutRequest": {"Item": {**item, "Id": {"S": str(number)}}}} for number in range(25)]
    body = json.dumps({"RequestItems": {"Large": puts}}).encode()
    body += b" " * (size - len(body))
    answers, times = [], []

    def send():
        began = time.monotonic()
        connection = http.client.HTTPConnection(node.address, timeout=IN_TIME)
        headers = {"X-Amz-Target": "DynamoDB_20120810.BatchWriteItem", "Content-Type": "application/x-amz-json-1.0"}
        try:
            connection.request("POST", "/", body, headers)
            answers.append(connection.getresponse().status)
        except OSError as error:
            answers.append(repr(error))
        times.append(time.monotonic() - began)

    others = SmallWrites(node, 60)
    threads = [threading.Thread(target=send) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    small = others.end()
    p99 = percentile(small, 0.99)
    counts = {status: answers.count(status) for status in set(answers)}
    print(f"answers {counts}, the last after {max(times):.1f} s; {len(small)} small writes beside, p99 {p99 * 1000:.0f} ms")
    if size > 16 << 20:
        assert counts == {413: CLIENTS}
    else:
        assert set(counts) <= {200, 503} and counts.get(200), counts
    assert max(times) < IN_TIME
    assert p99 < P99_SECONDS
