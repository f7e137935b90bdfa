"""Unmodified clients in Python: AWS CLI, boto3's client and resource, PynamoDB.

Each creates tables, writes, reads, queries an index, updates under conditions, meets an error as its own class, and deletes.
"""

import decimal
import json
import os
import subprocess

import boto3
import pytest
from boto3.dynamodb.conditions import Attr, Key
from boto3.dynamodb.types import Binary
from botocore.exceptions import ClientError, WaiterError
from pynamodb.attributes import JSONAttribute, ListAttribute, MapAttribute, NumberAttribute, UnicodeAttribute, UnicodeSetAttribute
from pynamodb.exceptions import DoesNotExist, PutError, UpdateError
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex, IncludeProjection, LocalSecondaryIndex
from pynamodb.models import Model

from harness import eventually


def music(name: str) -> dict:
    """A table with a sort key and a local index by year."""
    return {
        "TableName": name,
        "AttributeDefinitions": [
            {"AttributeName": "Artist", "AttributeType": "S"},
            {"AttributeName": "Song", "AttributeType": "S"},
            {"AttributeName": "Year", "AttributeType": "N"},
        ],
        "KeySchema": [
            {"AttributeName": "Artist", "KeyType": "HASH"},
            {"AttributeName": "Song", "KeyType": "RANGE"},
        ],
        "LocalSecondaryIndexes": [
            {
                "IndexName": "ByYear",
                "KeySchema": [
                    {"AttributeName": "Artist", "KeyType": "HASH"},
                    {"AttributeName": "Year", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["Tags"]},
            }
        ],
        "BillingMode": "PAY_PER_REQUEST",
    }


class Cli:
    """`aws dynamodb COMMAND`, with JSON in and out."""

    def __init__(self, url: str):
        self.url = url

    def run(self, command: str, *arguments, **json_arguments):
        line = ["aws", "dynamodb", command, "--endpoint-url", self.url, "--output", "json", *arguments]
        for name, value in json_arguments.items():
            line += [f"--{name.replace('_', '-')}", value if isinstance(value, str) else json.dumps(value)]
        return subprocess.run(line, capture_output=True, text=True, timeout=60, env=dict(os.environ))

    def __call__(self, command: str, *arguments, **json_arguments):
        run = self.run(command, *arguments, **json_arguments)
        assert run.returncode == 0, f"{command}: {run.stderr}"
        return json.loads(run.stdout) if run.stdout.strip() else None

    def fails(self, command: str, *arguments, **json_arguments) -> str:
        run = self.run(command, *arguments, **json_arguments)
        # Version 1 of the CLI ends with 255 for all failures; only the service's are told like this.
        assert run.returncode == 255 and "An error occurred (" in run.stderr, f"{command}: {run.returncode} {run.stdout} {run.stderr}"
        return run.stderr


def test_aws_cli(shared):
    aws = Cli(shared.nodes[0].url)
    table = {"table_name": "CliMusic"}
    created = aws("create-table", cli_input_json=music("CliMusic"))
    assert created["TableDescription"]["TableArn"].endswith(":table/CliMusic")
    aws("wait", "table-exists", "--table-name", "CliMusic")
    assert "CliMusic" in aws("list-tables")["TableNames"]
    assert "ResourceInUseException" in aws.fails("create-table", cli_input_json=music("CliMusic"))

    song = {"Artist": {"S": "Nina Simone"}, "Song": {"S": "Sinnerman"}, "Year": {"N": "1965"}, "Tags": {"SS": ["jazz"]}}
    aws("put-item", **table, item=song)
    refused = aws.fails("put-item", **table, item=song, condition_expression="attribute_not_exists(Artist)")
    assert "ConditionalCheckFailedException" in refused and "The conditional request failed" in refused
    writes = [
        {"PutRequest": {"Item": {"Artist": {"S": "Nina Simone"}, "Song": {"S": f"Song {n}"}, "Year": {"N": str(1950 + n)}}}}
        for n in range(20)
    ]
    assert aws("batch-write-item", request_items={"CliMusic": writes})["UnprocessedItems"] == {}
    key = {"Artist": song["Artist"], "Song": song["Song"]}
    assert aws("get-item", "--consistent-read", **table, key=key)["Item"] == song
    updated = aws(
        "update-item",
        **table,
        key=key,
        update_expression="SET #y = #y + :one, Plays = if_not_exists(Plays, :zero) + :one ADD Tags :tags",
        condition_expression="#y BETWEEN :low AND :high",
        expression_attribute_names={"#y": "Year"},
        expression_attribute_values={
            ":one": {"N": "1"}, ":zero": {"N": "0"}, ":tags": {"SS": ["gospel"]}, ":low": {"N": "1960"}, ":high": {"N": "1969"},
        },
        return_values="ALL_NEW",
    )["Attributes"]
    assert (updated["Year"], updated["Plays"], sorted(updated["Tags"]["SS"])) == ({"N": "1966"}, {"N": "1"}, ["gospel", "jazz"])
    # The CLI's own paging: it follows LastEvaluatedKey by itself.
    found = aws(
        "query",
        "--page-size",
        "3",
        "--no-scan-index-forward",
        "--consistent-read",
        **table,
        index_name="ByYear",
        key_condition_expression="Artist = :a AND #y > :y",
        expression_attribute_names={"#y": "Year"},
        expression_attribute_values={":a": song["Artist"], ":y": {"N": "1959"}},
    )
    assert [item["Year"]["N"] for item in found["Items"]] == [str(year) for year in [*range(1969, 1965, -1), 1966, *range(1965, 1959, -1)]]
    scanned = aws("scan", "--page-size", "5", "--consistent-read", **table, filter_expression="contains(Tags, :t)", expression_attribute_values={":t": {"S": "jazz"}})
    assert (scanned["Count"], scanned["ScannedCount"]) == (1, 21)
    assert aws("delete-item", **table, key=key, return_values="ALL_OLD")["Attributes"]["Plays"] == {"N": "1"}
    assert aws("get-item", "--consistent-read", **table, key=key) is None
    aws("delete-table", **table)
    aws("wait", "table-not-exists", "--table-name", "CliMusic")
    assert "ResourceNotFoundException" in aws.fails("describe-table", **table)


def test_boto3_client(shared):
    clients = [node.dynamodb() for node in shared.nodes]
    client = clients[0]
    client.create_table(**music("ClientMusic"), Tags=[{"Key": "team", "Value": "records"}])
    client.get_waiter("table_exists").wait(TableName="ClientMusic", WaiterConfig={"Delay": 1})
    description = client.describe_table(TableName="ClientMusic")["Table"]
    assert description["TableStatus"] == "ACTIVE" and description["LocalSecondaryIndexes"][0]["IndexName"] == "ByYear"
    tags = client.list_tags_of_resource(ResourceArn=description["TableArn"])["Tags"]
    assert tags == [{"Key": "team", "Value": "records"}]
    with pytest.raises(client.exceptions.ResourceInUseException):
        client.create_table(**music("ClientMusic"))

    item = {
        "Artist": {"S": "Ωmega ☃ 🎵"},
        "Song": {"S": "All types"},
        "Year": {"N": "1999"},
        "Number": {"N": "-1.2345678901234567890123456789012345678E-100"},
        "Binary": {"B": bytes(range(256))},
        "Sets": {"M": {"SS": {"SS": ["a", "b"]}, "NS": {"NS": ["1", "2.5"]}, "BS": {"BS": [b"\x00", b"\xff"]}}},
        "List": {"L": [{"NULL": True}, {"BOOL": False}, {"L": []}, {"M": {}}, {"S": ""}]},
    }
    answer = client.put_item(TableName="ClientMusic", Item=item, ReturnConsumedCapacity="INDEXES")
    assert answer["ConsumedCapacity"]["LocalSecondaryIndexes"]["ByYear"]["CapacityUnits"] == 1.0
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amz-crc32"].isdigit()
    for other in clients:
        got = other.get_item(TableName="ClientMusic", Key={k: item[k] for k in ("Artist", "Song")}, ConsistentRead=True)["Item"]
        number = decimal.Decimal(got.pop("Number")["N"])
        assert number == decimal.Decimal(item["Number"]["N"])
        for kind in ("SS", "NS", "BS"):
            got["Sets"]["M"][kind][kind].sort()
        assert got == {name: value for name, value in item.items() if name != "Number"}

    many = [{"PutRequest": {"Item": {"Artist": {"S": "Bulk"}, "Song": {"S": f"{n:03}"}, "Year": {"N": str(n % 10)}}}} for n in range(100)]
    for start in range(0, 100, 25):
        assert clients[start // 25 % 3].batch_write_item(RequestItems={"ClientMusic": many[start : start + 25]})["UnprocessedItems"] == {}
    keys = [{name: write["PutRequest"]["Item"][name] for name in ("Artist", "Song")} for write in many]
    batch = client.batch_get_item(RequestItems={"ClientMusic": {"Keys": keys, "ConsistentRead": True, "ProjectionExpression": "Song"}})
    assert sorted(got["Song"]["S"] for got in batch["Responses"]["ClientMusic"]) == [f"{n:03}" for n in range(100)]
    pages = client.get_paginator("query").paginate(
        TableName="ClientMusic",
        IndexName="ByYear",
        KeyConditionExpression="Artist = :a AND #y = :y",
        FilterExpression="Song <> :s",
        ExpressionAttributeNames={"#y": "Year"},
        ExpressionAttributeValues={":a": {"S": "Bulk"}, ":y": {"N": "7"}, ":s": {"S": "017"}},
        ConsistentRead=True,
        PaginationConfig={"PageSize": 3},
    )
    assert [got["Song"]["S"] for page in pages for got in page["Items"]] == [f"{n}7".zfill(3) for n in range(10) if n != 1]
    segments = [
        client.get_paginator("scan").paginate(TableName="ClientMusic", Segment=n, TotalSegments=3, Select="COUNT", ConsistentRead=True) for n in range(3)
    ]
    assert sum(page["Count"] for segment in segments for page in segment) == 101

    with pytest.raises(client.exceptions.ConditionalCheckFailedException) as refused:
        client.delete_item(
            TableName="ClientMusic",
            Key=keys[0],
            ConditionExpression="#y > :y",
            ExpressionAttributeNames={"#y": "Year"},
            ExpressionAttributeValues={":y": {"N": "5"}},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    assert refused.value.response["Item"]["Song"] == {"S": "000"}
    with pytest.raises(ClientError) as invalid:
        client.get_item(TableName="ClientMusic", Key={"Artist": {"S": "x"}})
    assert invalid.value.response["Error"] == {
        "Code": "ValidationException",
        "Message": "The provided key element does not match the schema",
    }
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.put_item(TableName="Nowhere", Item=item)
    old = client.update_item(
        TableName="ClientMusic",
        Key=keys[1],
        AttributeUpdates={"Plays": {"Action": "ADD", "Value": {"N": "3"}}, "Year": {"Action": "DELETE"}},
        ReturnValues="UPDATED_OLD",
    )
    assert old["Attributes"] == {"Year": {"N": "1"}}
    client.delete_table(TableName="ClientMusic")
    client.get_waiter("table_not_exists").wait(TableName="ClientMusic", WaiterConfig={"Delay": 1})
    with pytest.raises(WaiterError):
        client.get_waiter("table_exists").wait(TableName="ClientMusic", WaiterConfig={"Delay": 1, "MaxAttempts": 1})


def test_boto3_resource(shared):
    resource = boto3.resource("dynamodb", endpoint_url=shared.nodes[1].url)
    table = resource.create_table(**music("ResourceMusic"))
    table.wait_until_exists()
    table.reload()
    assert table.table_status == "ACTIVE" and table.item_count == 0
    with table.batch_writer(overwrite_by_pkeys=["Artist", "Song"]) as batch:
        for n in range(60):
            batch.put_item(Item={"Artist": "Batch", "Song": f"{n % 50:02}", "Year": n, "Rating": decimal.Decimal("4.5")})
        batch.delete_item(Key={"Artist": "Batch", "Song": "49"})
    found = table.query(
        KeyConditionExpression=Key("Artist").eq("Batch") & Key("Song").between("05", "14"),
        FilterExpression=Attr("Year").lt(55) & ~Attr("Missing").exists(),
        ScanIndexForward=False,
        ConsistentRead=True,
    )
    # Songs 05 to 09 were overwritten with the years 55 to 59.
    assert [item["Song"] for item in found["Items"]] == ["14", "13", "12", "11", "10"] and found["ScannedCount"] == 10
    by_year = table.query(IndexName="ByYear", KeyConditionExpression=Key("Artist").eq("Batch") & Key("Year").gte(50), ConsistentRead=True)
    assert [int(item["Year"]) for item in by_year["Items"]] == list(range(50, 60))

    table.put_item(Item={"Artist": "One", "Song": "s", "Data": Binary(b"\x00\x01"), "Deep": {"list": [1, {"two": {"a", "b"}}]}})
    answer = table.update_item(
        Key={"Artist": "One", "Song": "s"},
        UpdateExpression="SET Deep.#l = list_append(Deep.#l, :more) REMOVE #d",
        ConditionExpression=Attr("Deep.list[1].two").contains("a"),
        ExpressionAttributeNames={"#l": "list", "#d": "Data"},
        ExpressionAttributeValues={":more": ["end"]},
        ReturnValues="ALL_NEW",
    )
    assert answer["Attributes"]["Deep"] == {"list": [1, {"two": {"a", "b"}}, "end"]} and "Data" not in answer["Attributes"]
    failed = resource.meta.client.exceptions.ConditionalCheckFailedException
    with pytest.raises(failed):
        table.put_item(Item={"Artist": "One", "Song": "s"}, ConditionExpression=Attr("Deep.list").size().gt(5))
    got = table.get_item(Key={"Artist": "One", "Song": "s"}, ProjectionExpression="Deep.#l[2]", ExpressionAttributeNames={"#l": "list"}, ConsistentRead=True)
    assert got["Item"] == {"Deep": {"list": ["end"]}}
    assert table.scan(FilterExpression=Attr("Artist").is_in(["One", "Two"]), ConsistentRead=True)["Count"] == 1
    old = table.delete_item(Key={"Artist": "One", "Song": "s"}, ReturnValues="ALL_OLD")["Attributes"]
    assert old["Artist"] == "One"
    table.delete()
    table.wait_until_not_exists()
    with pytest.raises(resource.meta.client.exceptions.ResourceNotFoundException):
        table.load()


class ByYear(LocalSecondaryIndex):
    class Meta:
        index_name = "ByYear"
        projection = AllProjection()

    artist = UnicodeAttribute(hash_key=True)
    year = NumberAttribute(range_key=True)


class Label(MapAttribute):
    name = UnicodeAttribute()
    city = UnicodeAttribute(null=True)


class Song(Model):
    class Meta:
        table_name = "PynamoMusic"
        region = "us-east-1"
        billing_mode = "PAY_PER_REQUEST"
        host = None

    artist = UnicodeAttribute(hash_key=True)
    title = UnicodeAttribute(range_key=True)
    year = NumberAttribute()
    plays = NumberAttribute(default=0)
    tags = UnicodeSetAttribute(null=True)
    label = Label(null=True)
    tracks = ListAttribute(null=True)
    extra = JSONAttribute(null=True)
    by_year = ByYear()


def test_pynamodb(shared):
    Song.Meta.host = shared.nodes[2].url
    assert not Song.exists()
    Song.create_table(wait=True)
    assert Song.exists()
    song = Song("Nina", "Sinnerman", year=1965, tags={"jazz"}, label=Label(name="Philips"), tracks=[1, "two"], extra={"a": [1, 2]})
    song.save(Song.artist.does_not_exist())
    with pytest.raises(PutError) as refused:
        song.save(Song.artist.does_not_exist())
    assert refused.value.cause_response_code == "ConditionalCheckFailedException"
    read = Song.get("Nina", "Sinnerman", consistent_read=True)
    assert (read.year, read.tags, read.label.name, read.tracks, read.extra) == (1965, {"jazz"}, "Philips", [1, "two"], {"a": [1, 2]})
    with Song.batch_write() as batch:
        for n in range(40):
            batch.save(Song("Nina", f"{n:02}", year=1900 + n))
    got = list(Song.batch_get([("Nina", f"{n:02}") for n in range(0, 40, 2)], consistent_read=True))
    assert len(got) == 20
    assert [one.title for one in Song.query("Nina", Song.title.between("10", "19"), Song.year > 1914, page_size=3, consistent_read=True)] == [str(n) for n in range(15, 20)]
    assert [one.year for one in Song.by_year.query("Nina", Song.year >= 1938, scan_index_forward=False, consistent_read=True)] == [1965, 1939, 1938]
    assert Song.count("Nina", consistent_read=True) == 41
    assert sum(1 for _ in Song.scan(Song.tags.contains("jazz"), consistent_read=True)) == 1
    read.update(actions=[Song.plays.add(1), Song.tags.add({"gospel"}), Song.label.city.set("Baarn")], condition=Song.plays == 0)
    assert (read.plays, read.tags, read.label.city) == (1, {"jazz", "gospel"}, "Baarn")
    with pytest.raises(UpdateError):
        read.update(actions=[Song.plays.set(0)], condition=Song.plays == 0)
    read.refresh(consistent_read=True)
    read.delete(Song.year == 1965)
    with pytest.raises(DoesNotExist):
        Song.get("Nina", "Sinnerman", consistent_read=True)
    Song.delete_table()


def sales(name: str) -> dict:
    """A table with a global index by shop and day."""
    return {
        "TableName": name,
        "AttributeDefinitions": [{"AttributeName": each, "AttributeType": "S"} for each in ("Id", "Shop", "Day")],
        "KeySchema": [{"AttributeName": "Id", "KeyType": "HASH"}],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "ByShop",
                "KeySchema": [{"AttributeName": "Shop", "KeyType": "HASH"}, {"AttributeName": "Day", "KeyType": "RANGE"}],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["Total"]},
            }
        ],
        "BillingMode": "PAY_PER_REQUEST",
    }


# Reads of a global index go to any replica of its partitions, each of which follows in its own time: every one of them is asked until it is right.
BY_DAY = {"IndexName": "ByDay", "KeySchema": [{"AttributeName": "Day", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}}


def test_global_index_with_the_aws_cli(shared):
    aws = Cli(shared.nodes[0].url)
    table = ["--table-name", "CliSales"]
    aws("create-table", cli_input_json=sales("CliSales"))
    aws("wait", "table-exists", *table)
    for at in range(6):
        aws("put-item", *table, item={"Id": {"S": f"{at}"}, "Shop": {"S": "north"}, "Day": {"S": f"d{at // 2}"}, "Total": {"N": f"{at}"}, "Note": {"S": "n"}})
    condition = ["--key-condition-expression", "Shop = :s AND #d > :d", "--expression-attribute-names", '{"#d": "Day"}']
    values = {":s": {"S": "north"}, ":d": {"S": "d0"}}

    def query(*more):
        return aws("query", *table, "--index-name", "ByShop", *condition, *more, expression_attribute_values=values)

    eventually("the index has followed", 20, lambda: query()["Count"] == 4)
    eventually("by pages too", 20, lambda: [set(item) for item in query("--page-size", "1")["Items"]] == [{"Id", "Shop", "Day", "Total"}] * 4)
    told = aws.fails("query", *table, "--index-name", "ByShop", "--consistent-read", *condition, expression_attribute_values=values)
    assert "Consistent reads are not supported on global secondary indexes" in told

    day = [{"AttributeName": "Day", "AttributeType": "S"}]
    changed = aws("update-table", *table, attribute_definitions=day, global_secondary_index_updates=[{"Create": BY_DAY}])
    made = {one["IndexName"]: one["IndexStatus"] for one in changed["TableDescription"]["GlobalSecondaryIndexes"]}
    assert made == {"ByShop": "ACTIVE", "ByDay": "CREATING"}
    indexes = lambda: {one["IndexName"]: one["IndexStatus"] for one in aws("describe-table", *table)["Table"].get("GlobalSecondaryIndexes", [])}
    eventually("the new index is made", 30, lambda: indexes() == {"ByShop": "ACTIVE", "ByDay": "ACTIVE"})
    scanned = lambda: aws("scan", *table, "--index-name", "ByDay", "--max-items", "4")
    eventually("and is read", 20, lambda: len(scanned()["Items"]) == 4 and scanned()["NextToken"])
    aws("update-table", *table, global_secondary_index_updates=[{"Delete": {"IndexName": "ByShop"}}])
    eventually("the old index is gone", 30, lambda: indexes() == {"ByDay": "ACTIVE"})
    assert "does not have the specified index" in aws.fails("scan", *table, "--index-name", "ByShop")
    aws("delete-table", *table)


def test_global_index_with_boto3(shared):
    resource = boto3.resource("dynamodb", endpoint_url=shared.nodes[2].url)
    table = resource.create_table(**sales("ResourceSales"))
    table.wait_until_exists()
    with table.batch_writer() as batch:
        for at in range(30):
            batch.put_item(Item={"Id": f"{at}", "Shop": "north" if at % 3 else "south", "Day": f"d{at:02}", "Total": at, "Note": "n"})
    # Without its shop it leaves the index; with another day it moves.
    table.update_item(Key={"Id": "1"}, UpdateExpression="REMOVE Shop")
    table.update_item(Key={"Id": "2"}, UpdateExpression="SET #d = :d", ExpressionAttributeNames={"#d": "Day"}, ExpressionAttributeValues={":d": "d99"})

    def days(**more):
        return [item["Day"] for item in table.query(IndexName="ByShop", KeyConditionExpression=Key("Shop").eq("north") & Key("Day").begins_with("d"), **more)["Items"]]

    expected = [f"d{at:02}" for at in range(30) if at % 3 and at not in (1, 2)] + ["d99"]
    eventually("the index has followed", 20, lambda: days() == expected)
    eventually("backwards", 20, lambda: days(ScanIndexForward=False, Limit=3) == ["d99", "d29", "d28"])
    eventually("filtered", 20, lambda: days(FilterExpression=Attr("Total").lt(6)) == ["d04", "d05", "d99"])

    def paged():
        pages = resource.meta.client.get_paginator("query").paginate(
            TableName="ResourceSales", IndexName="ByShop", KeyConditionExpression="Shop = :s", ExpressionAttributeValues={":s": "north"}, PaginationConfig={"PageSize": 4}
        )
        return [item["Day"] for page in pages for item in page["Items"]]

    eventually("by pages", 20, lambda: paged() == expected)
    page = {}
    south = dict(IndexName="ByShop", KeyConditionExpression=Key("Shop").eq("south"), Limit=1, ReturnConsumedCapacity="INDEXES")
    eventually("a page that ends", 20, lambda: page.update(table.query(**south)) or set(page.get("LastEvaluatedKey", ())) == {"Id", "Shop", "Day"})
    assert page["ConsumedCapacity"]["GlobalSecondaryIndexes"]["ByShop"]["CapacityUnits"] == 0.5
    eventually("in segments", 20, lambda: sum(table.scan(IndexName="ByShop", Segment=at, TotalSegments=3)["Count"] for at in range(3)) == 29)
    with pytest.raises(ClientError, match="ALL_ATTRIBUTES is not supported for global secondary index ByShop"):
        table.query(IndexName="ByShop", KeyConditionExpression=Key("Shop").eq("north"), Select="ALL_ATTRIBUTES")
    with pytest.raises(ClientError, match="Type mismatch for Index Key Shop"):
        table.put_item(Item={"Id": "x", "Shop": 7})
    table.update(AttributeDefinitions=[{"AttributeName": "Day", "AttributeType": "S"}], GlobalSecondaryIndexUpdates=[{"Create": BY_DAY}])

    def made():
        table.reload()
        return {one["IndexName"]: one["IndexStatus"] for one in table.global_secondary_indexes} == {"ByShop": "ACTIVE", "ByDay": "ACTIVE"}

    eventually("the new index is made", 30, made)
    eventually("and is read everywhere", 20, lambda: [item["Note"] for item in table.query(IndexName="ByDay", KeyConditionExpression=Key("Day").eq("d99"))["Items"]] == ["n"])
    table.update(GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "ByShop"}}])
    eventually("the old index is gone", 30, lambda: table.reload() or [one["IndexName"] for one in table.global_secondary_indexes] == ["ByDay"])
    table.delete()


class ByCity(GlobalSecondaryIndex):
    class Meta:
        index_name = "ByCity"
        projection = AllProjection()

    city = UnicodeAttribute(hash_key=True)
    age = NumberAttribute(range_key=True)


class ByAge(GlobalSecondaryIndex):
    class Meta:
        index_name = "ByAge"
        projection = IncludeProjection(["name"])

    age = NumberAttribute(hash_key=True)


class Person(Model):
    class Meta:
        table_name = "PynamoPeople"
        region = "us-east-1"
        billing_mode = "PAY_PER_REQUEST"
        host = None

    id = UnicodeAttribute(hash_key=True)
    name = UnicodeAttribute()
    city = UnicodeAttribute(null=True)
    age = NumberAttribute()
    by_city = ByCity()
    by_age = ByAge()


def test_global_index_with_pynamodb(shared):
    Person.Meta.host = shared.nodes[1].url
    Person.create_table(wait=True)
    with Person.batch_write() as batch:
        for at in range(20):
            batch.save(Person(f"{at}", name=f"n{at}", city="Lyon" if at % 2 else None, age=at))
    eventually("the index has followed", 20, lambda: Person.by_city.count("Lyon") == 10)
    older = lambda: [one.age for one in Person.by_city.query("Lyon", Person.age > 9, Person.name != "n15", scan_index_forward=False, page_size=2)]
    eventually("backwards and filtered", 20, lambda: older() == [19, 17, 13, 11])
    eventually("scanned", 20, lambda: sum(1 for _ in Person.by_city.scan()) == 10)
    eventually("and the other", 20, lambda: [one.name for one in Person.by_age.query(4)] == ["n4"])

    def paged():
        pages = Person.by_city.query("Lyon", limit=3)
        first = [one.age for one in pages]
        return first + [one.age for one in Person.by_city.query("Lyon", last_evaluated_key=pages.last_evaluated_key)]

    eventually("by pages", 20, lambda: paged() == list(range(1, 20, 2)))
    Person.get("1", consistent_read=True).update(actions=[Person.city.set("Nice")])
    eventually("it moved", 20, lambda: (Person.by_city.count("Lyon"), Person.by_city.count("Nice")) == (9, 1))
    Person.delete_table()
