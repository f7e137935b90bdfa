"""A zone gone, two zones gone, and back: what goes on, what fails cleanly, and that nothing acknowledged is lost."""

import http.client
import time

import pytest
from botocore.exceptions import ClientError

import traffic
from buckets import Bucket
from harness import eventually

# What an SDK retries by itself: the write did not take effect now, and may later.
RETRYABLE = {"InternalServerError", "ServiceUnavailable", "ServiceUnavailableException", "ThrottlingException", "ProvisionedThroughputExceededException"}
KEYS = ["Key"]


def items(prefix: str, count: int) -> list[dict]:
    return [{"Key": {"S": f"{prefix}-{index:03}"}, "Value": {"S": f"{prefix} {index} " + "x" * 200}} for index in range(count)]


def put_all(client, wanted):
    for item in wanted:
        client.put_item(TableName="Things", Item=item)


def test_one_zone_gone_then_two_then_all_back(cluster):
    first, second, third = cluster.nodes
    cluster.create_table("Things", "Key")
    assert Bucket(first.url, "carts").create().status < 300
    before = items("before", 60)
    put_all(first.dynamodb(), before)
    assert Bucket(first.url, "carts").put("cart", b"before", "all").status < 300

    # One zone gone: everything goes on, through either of the others.
    third.kill()
    one_gone = items("one-gone", 60)
    for index, item in enumerate(one_gone):
        node = (first, second)[index % 2]
        eventually(
            "a write with one zone gone",
            2.0,
            lambda node=node, item=item: node.dynamodb(retries=0, read_timeout=2).put_item(TableName="Things", Item=item),
        )
    traffic.assert_readable([first.url, second.url], "Things", before + one_gone, KEYS)
    traffic.assert_readable([first.url, second.url], "Things", before, KEYS, consistent=False)
    seen = Bucket(second.url, "carts").get("cart", "quorum")
    assert (seen.status, seen.body) == (200, b"before"), seen
    answer = Bucket(second.url, "carts").put("cart", b"one gone", "quorum", seen.context)
    assert answer.status < 300, answer

    # Two gone: tables refuse cleanly within the deadline, buckets at ONE go on.
    second.kill()
    raw = traffic.RawTable(first.url, timeout=30)
    refused = items("refused", 6)
    for item in refused:
        began = time.monotonic()
        status, body = raw.call("PutItem", {"TableName": "Things", "Item": item})
        took = time.monotonic() - began
        kind = body.get("__type", "").rpartition("#")[2]
        assert status >= 400 and kind in RETRYABLE, (status, body)
        assert took < 15, f"the refusal took {took:.1f} s"
    raw.close()
    with pytest.raises(ClientError) as refusal:
        first.dynamodb(retries=0, read_timeout=30).get_item(
            TableName="Things", Key={"Key": before[0]["Key"]}, ConsistentRead=True
        )
    assert refusal.value.response["Error"]["Code"] in RETRYABLE
    # The surviving replica still answers an eventual read.
    traffic.assert_readable([first.url], "Things", before, KEYS, workers=1, consistent=False)
    alone = Bucket(first.url, "carts")
    seen = alone.get("cart", "one")
    assert seen.status == 200, seen
    for index in range(20):
        answer = alone.put(f"alone-{index}", f"value {index}".encode(), "one")
        assert answer.status < 300, answer
        got = alone.get(f"alone-{index}", "one")
        assert (got.status, got.body) == (200, f"value {index}".encode()), got
    answer = alone.put("cart", b"two gone", "one", seen.context)
    assert answer.status < 300, answer
    strict = alone.put("never", b"never", "quorum")
    assert strict.status >= 500, f"W=QUORUM with one of three replicas must fail: {strict}"

    # All back: everything converges.
    second.start()
    third.start()
    cluster.wait_whole()
    after = items("after", 60)
    put_all(third.dynamodb(), after)
    traffic.assert_readable(cluster.urls, "Things", before + one_gone + after, KEYS, workers=3)
    cluster.assert_replicas_equal()
    for node in cluster.nodes:
        bucket = Bucket(node.url, "carts")
        for index in range(20):
            got = eventually(
                "a bucket write at ONE is everywhere", 30, lambda b=bucket, i=index: (a := b.get(f"alone-{i}", "all")).status == 200 and a
            )
            assert got.body == f"value {index}".encode(), got
    merged = Bucket(third.url, "carts").get("cart", "all")
    assert merged.status == 200 and merged.body == b"two gone", merged


def test_reads_at_all_repair_the_replica_that_missed_a_write(cluster):
    first, second, third = cluster.nodes
    assert Bucket(first.url, "repairs").create().status < 300
    third.kill()
    written = [f"key-{index}" for index in range(10)]
    for name in written:
        assert Bucket(first.url, "repairs").put(name, name.encode(), "quorum").status < 300
    third.start()
    cluster.wait_whole()
    for name in written:
        assert Bucket(second.url, "repairs").get(name, "all").body == name.encode()
    # The repaired replica now answers alone: with both others gone there is nobody else to ask.
    first.kill()
    second.kill()

    def repaired(name):
        try:
            answer = Bucket(third.url, "repairs").get(name, "one")
        except (OSError, http.client.HTTPException):
            return False
        return answer.status == 200 and answer.body == name.encode()

    for name in written:
        eventually(f"{name} on the repaired replica", 10, lambda name=name: repaired(name))
