"""Many large bodies at once: each client gets an answer in time, and the others hardly notice."""

import json
import os
import threading
import time

import pytest

from test_heavy import SmallWrites, percentile, send

FULL = bool(os.environ.get("TORC_E2E_FULL"))
CLIENTS = 40
# Each client sends so many, one after the other, so that a percentile of the others means something.
ROUNDS = 5
LARGEST = 16 << 20
# No SDK waits longer than this for an answer by default.
IN_TIME = 30.0
# What the others may notice. Bodies that are written, 10 MB each, also share the disk with the small writes: that is the store's to bound,
# and here it is only printed.
P99_SECONDS = 0.1


def padded(body, size):
    text = json.dumps(body).encode()
    return text + b" " * (size - len(text))


def puts():
    items = [{"Id": {"S": str(number)}, "V": {"S": "v" * 390_000}} for number in range(25)]
    return {"RequestItems": {"Large": [{"PutRequest": {"Item": item}} for item in items]}}


CASES = {
    "beyond the largest": ("BatchWriteItem", 23_000_000, puts, {413}),
    "the largest, read": ("BatchGetItem", LARGEST, lambda: {"RequestItems": {"Large": {"Keys": [{"Id": {"S": "x"}}]}}}, {200}),
    "the largest, written": ("BatchWriteItem", LARGEST, puts, {200, 503}),
}


@pytest.mark.parametrize("name", CASES)
def test_forty_large_bodies_at_once(single, name):
    operation, size, make, wanted = CASES[name]
    node = single.nodes[0]
    single.create_table("Large", "Id")
    single.create_table("Small", "Id")
    body = padded(make(), size)
    rounds = 1 if name.endswith("written") else ROUNDS
    answers, times = [], []

    def client():
        for _ in range(rounds):
            began = time.monotonic()
            try:
                answers.append(send(node.address, operation, body)[0])
            except OSError as error:
                answers.append(repr(error))
            times.append(time.monotonic() - began)

    others = SmallWrites(node, 120)
    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    small = others.end()
    p99 = percentile(small, 0.99)
    counts = {status: answers.count(status) for status in set(answers)}
    print(f"\n{name}: {counts}, the longest {max(times):.1f} s; {len(small)} small writes beside, p99 {p99 * 1000:.0f} ms")
    assert set(counts) <= wanted and counts.get(min(wanted)), counts
    assert max(times) < IN_TIME
    # Judged on a quiet machine only; elsewhere it is printed.
    assert not FULL or p99 < P99_SECONDS or name.endswith("written")
