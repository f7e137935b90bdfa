#!/usr/bin/env python3
"""Planted faults: what triage must not excuse. `python3 oracle/test_triage.py`."""

import unittest

import absent
import run
from raw import Raw
import shapes
import triage

KEY = {"TableName": "t", "Key": {"p": {"S": "k1"}}}
REFUSED = "The conditional request failed"


def good(answer):
    return (200, "", "", answer)


def bad(message, kind="ValidationException"):
    return (400, kind, message, None)


class Faults(unittest.TestCase):
    def told(self, operation, body, ours, theirs):
        self.assertIsNone(triage.reason(operation, body, ours, theirs))

    def test_other_answers(self):
        one, two = {"Item": {"p": {"S": "k1"}, "a": {"N": "1"}}}, {"Item": {"p": {"S": "k1"}, "a": {"N": "2"}}}
        for operation in ("GetItem", "PutItem", "DeleteItem", "UpdateItem"):
            self.told(operation, dict(KEY, ReturnValues="ALL_NEW", ReturnConsumedCapacity="TOTAL"), good(one), good(two))
        self.told("Query", dict(TableName="t", IndexName="all"), good({"Items": [one["Item"]], "Count": 1, "ScannedCount": 1}), good({"Items": [two["Item"]], "Count": 1, "ScannedCount": 1}))
        self.told("Query", {"TableName": "t"}, good({"Items": [], "Count": 0, "ScannedCount": 0}), good({"Items": [one["Item"]], "Count": 1, "ScannedCount": 1}))
        self.told("Walk", {"TableName": "t"}, good({"Scanned": [], "Count": 0, "ScannedCount": 0}), good({"Scanned": [one["Item"]], "Count": 1, "ScannedCount": 1}))

    def test_updated_values_must_be_part_of_the_attribute(self):
        body = dict(KEY, UpdateExpression="SET a.b = :v", ReturnValues="UPDATED_NEW")
        whole = {"Attributes": {"a": {"M": {"b": {"N": "1"}, "c": {"N": "2"}}}}}
        self.assertIsNotNone(triage.reason("UpdateItem", body, good({"Attributes": {"a": {"M": {"b": {"N": "1"}}}}}), good(whole)))
        self.told("UpdateItem", body, good({"Attributes": {"a": {"M": {"b": {"N": "9"}}}}}), good(whole))
        self.told("UpdateItem", body, good({"Attributes": {"z": {"N": "1"}}}), good(whole))

    def test_one_side_refuses(self):
        for operation in ("GetItem", "PutItem", "UpdateItem", "Query", "BatchWriteItem", "CreateTable"):
            self.told(operation, KEY, good({}), bad("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"))
            self.told(operation, KEY, bad("Invalid ConditionExpression: Syntax error; token: \"x\", near: \"x\""), good({}))
            self.told(operation, KEY, good({}), bad(REFUSED, "ConditionalCheckFailedException"))
            self.told(operation, KEY, bad(REFUSED, "ConditionalCheckFailedException"), good({}))
            self.told(operation, KEY, bad("x", "InternalServerError"), bad("x"))
            self.told(operation, KEY, (500, "InternalServerError", "", None), (500, "InternalFailure", "", None))

    def test_a_later_fault_must_not_come_first(self):
        syntax = bad("Invalid UpdateExpression: Syntax error; token: \"x\", near: \"x\"")
        self.told("UpdateItem", KEY, bad(REFUSED, "ConditionalCheckFailedException"), syntax)
        self.told("UpdateItem", KEY, bad("An operand in the update expression has an incorrect data type"), syntax)

    def test_constraints_and_types_are_proven(self):
        enumeration = "1 validation error detected: Value 'NONE' at 'returnValues' failed to satisfy constraint: Member must satisfy enum value set: [ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW]"
        self.told("PutItem", dict(KEY, ReturnValues="NONE"), bad(enumeration), good({}))
        self.assertIsNotNone(triage.reason("PutItem", dict(KEY, ReturnValues="X"), bad(enumeration.replace("'NONE'", "'X'")), good({})))
        null = "1 validation error detected: Value null at 'key' failed to satisfy constraint: Member must not be null"
        self.told("GetItem", KEY, bad(null), good({}))
        self.assertIsNotNone(triage.reason("GetItem", {"TableName": "t"}, bad(null), bad("Cannot have null key")))
        self.told("GetItem", KEY, bad("NUMBER_VALUE cannot be converted to String", "SerializationException"), good({}))
        self.assertTrue(shapes.misfit("GetItem", {"TableName": 5}))
        self.assertFalse(shapes.misfit("GetItem", dict(KEY, Unknown={"x": [1]})))

    def test_bodies_that_are_no_json(self):
        refused = bad("", "SerializationException")
        self.assertIsNotNone(triage.reason("GetItem", Raw(KEY, b'{"TableName": "t",}'), refused, good({})))
        self.assertIsNotNone(triage.reason("GetItem", Raw(KEY, b'{"TableName": "t", "TableName": 1}'), refused, good({})))
        self.assertIsNotNone(triage.reason("GetItem", Raw(KEY, b"null"), refused, bad("", "InternalFailure")))
        # What is JSON and has the right types must be read, and what is not must not.
        for text in (b'{"TableName": "t", "TableName": "u"}', b'{"TableName": "\\ud800"}', b'{"Tabl\\u0065Name": "t"}'):
            self.told("GetItem", Raw(KEY, text), refused, good({}))
        self.told("GetItem", Raw(KEY, b'{"TableName": "t"'), good({}), refused)
        empty = bad("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
        self.assertIsNotNone(triage.reason("PutItem", Raw(KEY, b'{"Item": {"m": {"M": {"a": {}, "a": {"S": "x"}}}}}'), empty, good({})))
        self.told("PutItem", Raw(KEY, b'{"Item": {"m": {"M": {"a": {"S": "x"}}}}}'), empty, good({}))
        self.told("GetItem", Raw(KEY, b'{"TableName": "t"'), (500, "InternalServerError", "", None), refused)

    def test_filters_of_global_indexes(self):
        body = {"TableName": "t", "IndexName": "gsome", "FilterExpression": "a = :v"}
        scanned = lambda items: good({"Scanned": items, "Count": len(items), "ScannedCount": 3})
        self.told("Scan", body, scanned([]), scanned([{"p": {"S": "a"}}]))
        self.told("Walk", body, scanned([{"p": {"S": "a"}}]), scanned([]))

    def test_the_definitions_of_a_new_index(self):
        body = {"TableName": "t", "AttributeDefinitions": [{"AttributeName": "z", "AttributeType": "S"}],
            "GlobalSecondaryIndexUpdates": [{"Create": {"IndexName": "abc", "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}]}}]}
        refused = bad("One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions. Keys: [p], AttributeDefinitions: [z]")
        self.assertIsNotNone(triage.reason("UpdateTable", body, refused, good({})))
        self.told("UpdateTable", dict(body, AttributeDefinitions=[{"AttributeName": "p", "AttributeType": "S"}]), refused, good({}))

    def test_the_order_of_sets_counts(self):
        asked = dict(KEY, ConsistentRead=True)
        answers = lambda members, kind: ({"Item": {"p": {"S": "k1"}, "a": {kind: members}}},) * 2
        for kind, ordered, other in (("SS", ["a", "\uffff", "😀"], ["a", "😀", "\uffff"]), ("NS", ["-1", "9", "10"], ["10", "9", "-1"]), ("BS", ["AA==", "/w=="], ["/w==", "AA=="])):
            local = run.outcome("GetItem", 200, answers(other, kind)[0], "", True)
            self.assertEqual(run.outcome("GetItem", 200, answers(ordered, kind)[0], ""), local)
            self.assertNotEqual(run.outcome("GetItem", 200, answers(other, kind)[0], ""), local)
            self.told("GetItem", asked, run.outcome("GetItem", 200, answers(other, kind)[0], ""), local)

    def test_updates_that_only_take_away(self):
        update = lambda text: absent.only_takes_away(dict(KEY, UpdateExpression=text))
        for text in ("REMOVE a", "remove #SET, b[0] delete c :ADD", "DELETE a :v"):
            self.assertTrue(update(text), text)
        for text in ("SET a = :v", "REMOVE a SET b = :v", "DELETE a :v ADD b :v", "", "a"):
            self.assertFalse(update(text), text)
        self.assertTrue(absent.only_takes_away(dict(KEY, AttributeUpdates={"a": {"Action": "DELETE"}})))
        for updates in ({}, {"a": {"Action": "DELETE"}, "b": {"Value": {"S": "a"}}}):
            self.assertFalse(absent.only_takes_away(dict(KEY, AttributeUpdates=updates)))

    def test_keys_that_are_the_same_number(self):
        twice = bad("Provided list of item keys contains duplicates")
        batch = lambda *keys: {"RequestItems": {"t": {"Keys": [{"p": {"N": key}} for key in keys]}}}
        self.assertIsNotNone(triage.reason("BatchGetItem", batch("1e2", "100"), twice, good({})))
        self.told("BatchGetItem", batch("1e2", "101"), twice, good({}))

    def test_numbers_are_canonical(self):
        for text, expected in [("1e3", "1000"), ("-0.0", "0"), ("1.50", "1.5"), ("1E-3", "0.001"), ("9.9e3", "9900")]:
            self.assertEqual(run.plain(text), expected)
        # Torc's own numbers are compared as they are.
        self.assertNotEqual(run.outcome("GetItem", 200, {"Item": {"a": {"N": "1e3"}}}, ""), run.outcome("GetItem", 200, {"Item": {"a": {"N": "1e3"}}}, "", True))


if __name__ == "__main__":
    unittest.main()
