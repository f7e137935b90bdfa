//! Tables of requests with DynamoDB's answers to them.

use super::*;
use crate::key::{self, SortCondition};
use crate::schema::IndexState;
use crate::schema::{BillingMode, TableSchema};
use crate::{ApiError, AttributeValue, ErrorCode};

/// Parses a body by an operation's name; what it says when it refuses, nothing when it does not.
fn parse(operation: &str, body: &str) -> Result<(), ApiError> {
    let body = body.as_bytes();
    match operation {
        "PutItem" => PutItem::parse(body).map(drop),
        "GetItem" => GetItem::parse(body).map(drop),
        "DeleteItem" => DeleteItem::parse(body).map(drop),
        "UpdateItem" => UpdateItem::parse(body).map(drop),
        "Query" => Query::parse(body).map(drop),
        "Scan" => Scan::parse(body).map(drop),
        "BatchGetItem" => BatchGetItem::parse(body)
            .and_then(|batch| batch.tables.values().try_for_each(|table| table.projection().map(drop))),
        "BatchWriteItem" => BatchWriteItem::parse(body).map(drop),
        "CreateTable" => CreateTable::parse(body).map(drop),
        "DescribeTable" => DescribeTable::parse(body).map(drop),
        "DeleteTable" => DeleteTable::parse(body).map(drop),
        "ListTables" => ListTables::parse(body).map(drop),
        "UpdateTable" => UpdateTable::parse(body).map(drop),
        "TagResource" => TagResource::parse(body).map(drop),
        "UntagResource" => UntagResource::parse(body).map(drop),
        "ListTagsOfResource" => ListTagsOfResource::parse(body).map(drop),
        "UpdateTimeToLive" => UpdateTimeToLive::parse(body).map(drop),
        _ => match FeatureRequest::parse(operation, body) {
            Some(result) => result.map(drop),
            None => panic!("no operation {operation}"),
        },
    }
}

/// Each case: the body without its outer braces, and the message; empty when the request is valid.
#[track_caller]
pub(super) fn check(operation: &str, cases: &[(&str, &str)]) {
    for (body, message) in cases {
        match parse(operation, &format!("{{{body}}}")) {
            Ok(()) => assert_eq!("", *message, "{operation} {body}"),
            Err(error) => {
                assert_eq!(error.message, *message, "{operation} {body}");
                assert_eq!(error.code, ErrorCode::Validation, "{operation} {body}");
            }
        }
    }
}

const MIXED: &str = "Can not use both expression and non-expression parameters in the same request: ";

#[test]
fn every_operation_refuses_what_is_not_its_shape() {
    for operation in [
        "PutItem",
        "GetItem",
        "DeleteItem",
        "UpdateItem",
        "Query",
        "Scan",
        "BatchGetItem",
        "BatchWriteItem",
        "CreateTable",
        "DescribeTable",
        "DeleteTable",
        "ListTables",
    ] {
        for body in ["", "{", "null", "{}}", "{\"TableName\":\"abc\",}", "{\"x\":}"] {
            let error = parse(operation, body).unwrap_err();
            assert_eq!(
                (error.code, error.message.as_str()),
                (ErrorCode::Serialization, ""),
                "{operation} {body}"
            );
        }
        for (body, message) in [
            (
                "[]".to_string(),
                format!(
                    "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.{operation}Input"
                ),
            ),
            ("\"a\"".to_string(), "Unexpected value type in payload".to_string()),
        ] {
            let error = parse(operation, &body).unwrap_err();
            assert_eq!(
                (error.code, error.message),
                (ErrorCode::Serialization, message),
                "{operation} {body}"
            );
        }
    }
    for (operation, body, message) in [
        ("PutItem", r#"{"TableName":1}"#, "NUMBER_VALUE cannot be converted to String"),
        ("PutItem", r#"{"TableName":["a"]}"#, "Unrecognized collection type class java.lang.String"),
        ("PutItem", r#"{"Item":"a"}"#, "Unexpected field type"),
        ("PutItem", r#"{"ExpressionAttributeNames":{"a":1}}"#, "NUMBER_VALUE cannot be converted to String"),
        ("PutItem", r#"{"Expected":{"a":"b"}}"#, "Unexpected value type in payload"),
        ("GetItem", r#"{"ConsistentRead":"x"}"#, "Unexpected token received from parser"),
        ("GetItem", r#"{"AttributesToGet":"x"}"#, "Unexpected field type"),
        ("Query", r#"{"Limit":"1"}"#, "STRING_VALUE cannot be converted to Integer"),
        (
            "Query",
            r#"{"KeyConditions":{"a":{"AttributeValueList":{}}}}"#,
            "Start of structure or map found where not expected",
        ),
        (
            "BatchGetItem",
            r#"{"RequestItems":{"abc":[]}}"#,
            "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.KeysAndAttributes",
        ),
        (
            "BatchWriteItem",
            r#"{"RequestItems":{"abc":{}}}"#,
            "Start of structure or map found where not expected",
        ),
        ("CreateTable", r#"{"KeySchema":{}}"#, "Start of structure or map found where not expected"),
        (
            "CreateTable",
            r#"{"ProvisionedThroughput":{"ReadCapacityUnits":"1"}}"#,
            "STRING_VALUE cannot be converted to Long",
        ),
    ] {
        let error = parse(operation, body).unwrap_err();
        assert_eq!(
            (error.code, error.message.as_str()),
            (ErrorCode::Serialization, message),
            "{operation} {body}"
        );
    }
    // Members of other operations are passed over, whatever they hold.
    assert!(
        parse("GetItem", r#"{"TableName":"abc","Key":{"a":{"S":"b"}},"Item":1,"UpdateExpression":[]}"#)
            .is_ok()
    );
}

#[test]
fn table_names_of_data_operations() {
    let key = r#""Key":{"a":{"S":"b"}}"#;
    let pattern =
        "failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+";
    let cases = [
        (key.to_string(), "1 validation error detected: Value null at 'tableName' failed to satisfy constraint: Member must not be null".to_string()),
        (
            String::new(),
            "2 validation errors detected: Value null at 'tableName' failed to satisfy constraint: Member must not be null; Value null at 'key' failed to satisfy constraint: Member must not be null".to_string(),
        ),
        (
            format!(r#"{key},"TableName":"""#),
            "1 validation error detected: Value '' at 'tableName' failed to satisfy constraint: Member must have length greater than or equal to 1".to_string(),
        ),
        (
            format!(r#"{key},"TableName":"ab""#),
            "1 validation error detected: Value 'ab' at 'tableName' failed to satisfy constraint: Member must have length greater than or equal to 3".to_string(),
        ),
        (
            format!(r#"{key},"TableName":"{}""#, "x".repeat(256)),
            format!("1 validation error detected: Value '{}' at 'tableName' failed to satisfy constraint: Member must have length less than or equal to 255", "x".repeat(256)),
        ),
        (format!(r#"{key},"TableName":"abc;""#), format!("1 validation error detected: Value 'abc;' at 'tableName' {pattern}")),
        (
            format!(r#"{key},"TableName":"a;""#),
            format!("2 validation errors detected: Value 'a;' at 'tableName' {pattern}; Value 'a;' at 'tableName' failed to satisfy constraint: Member must have length greater than or equal to 3"),
        ),
        (format!(r#"{key},"TableName":"arn:aws:dynamodb:us-east-1:1:table/abc""#), String::new()),
        (
            format!(r#"{key},"TableName":"arn:aws:dynamodb:us-east-1:1:table/abc/index/i""#),
            format!("1 validation error detected: Value 'arn:aws:dynamodb:us-east-1:1:table/abc/index/i' at 'tableName' {pattern}"),
        ),
    ];
    for (body, message) in &cases {
        check("GetItem", &[(body, message)]);
    }
    let arn = GetItem::parse(
        format!(r#"{{{key},"TableName":"arn:aws:dynamodb:us-east-1:1:table/abc"}}"#).as_bytes(),
    )
    .unwrap();
    assert_eq!(arn.table, "abc");
}

#[test]
fn put_item() {
    check(
        "PutItem",
        &[
            (r#""TableName":"abc","Item":{"a":{"S":"b"}}"#, ""),
            (
                r#""TableName":"abc","Item":{"a":{"S":"b"}},"ReturnValues":"X","ReturnConsumedCapacity":"Y","ReturnItemCollectionMetrics":"Z""#,
                "3 validation errors detected: Value 'X' at 'returnValues' failed to satisfy constraint: Member must satisfy enum value set: [ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW]; Value 'Y' at 'returnConsumedCapacity' failed to satisfy constraint: Member must satisfy enum value set: [INDEXES, TOTAL, NONE]; Value 'Z' at 'returnItemCollectionMetrics' failed to satisfy constraint: Member must satisfy enum value set: [SIZE, NONE]",
            ),
            (
                r#""TableName":"abc","Item":{"a":{"S":"b"}},"Expected":{"a":{"ComparisonOperator":"X"}}"#,
                "1 validation error detected: Value 'X' at 'expected.a.member.comparisonOperator' failed to satisfy constraint: Member must satisfy enum value set: [IN, NULL, BETWEEN, LT, NOT_CONTAINS, EQ, GT, NOT_NULL, NE, LE, BEGINS_WITH, GE, CONTAINS]",
            ),
            (
                r#""TableName":"abc","Item":{"a":{"S":"b"}},"Expected":{},"ConditionalOperator":"AND","ConditionExpression":"a = b""#,
                &format!(
                    "{MIXED}Non-expression parameters: {{Expected, ConditionalOperator}} Expression parameters: {{ConditionExpression}}"
                ),
            ),
            (
                r##""TableName":"abc","Item":{"a":{"S":"b"}},"ExpressionAttributeNames":{"#a":"a"},"ExpressionAttributeValues":{}"##,
                "ExpressionAttributeNames can only be specified when using expressions",
            ),
            (
                r#""TableName":"abc","Item":{"a":{}},"ExpressionAttributeValues":{}"#,
                "ExpressionAttributeValues can only be specified when using expressions: ConditionExpression is null",
            ),
            (
                r#""TableName":"abc","Item":{"a":{}},"ReturnValues":"ALL_NEW""#,
                "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
            ),
            (
                r#""TableName":"abc","Item":{"a":{"S":"b"}},"ReturnValues":"ALL_NEW","ConditionExpression":"a = ""#,
                "ReturnValues can only be ALL_OLD or NONE",
            ),
            (
                r#""TableName":"abc","Item":{"a":{"S":"b"}},"ConditionExpression":"""#,
                "Invalid ConditionExpression: The expression can not be empty;",
            ),
            (
                r#""TableName":"abc","Item":{"a":{"S":"b"}},"ConditionExpression":"a = :a","ExpressionAttributeValues":{":a":{"N":"x"}}"#,
                "ExpressionAttributeValues contains invalid value: The parameter cannot be converted to a numeric value: x for key :a",
            ),
            (
                r#""TableName":"abc","Item":{"a":{"S":"b"}},"ConditionExpression":"a = :a","ExpressionAttributeValues":{":a":{"N":"1"},":b":{"N":"2"}}"#,
                "Value provided in ExpressionAttributeValues unused in expressions: keys: {:b}",
            ),
            (
                r#""TableName":"abc","Item":{"a":{"S":"b"}},"Expected":{"a":{"ComparisonOperator":"EQ"}}"#,
                "One or more parameter values were invalid: Value or AttributeValueList must be used with ComparisonOperator: EQ for Attribute: a",
            ),
            (
                r#""TableName":"abc","Item":{"a":{"S":"b"}},"Expected":{"a":{"Value":{"S":""},"Exists":true}}"#,
                "",
            ),
            (
                r#""TableName":"abc","Item":{"a":{"S":"b"}},"Expected":{"a":{"Value":{}}}"#,
                "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
            ),
        ],
    );
    let big = format!(
        r#""TableName":"abc","Item":{{"a":{{"S":"{}"}}}},"ConditionExpression":"a = ""#,
        "x".repeat(410_000)
    );
    check("PutItem", &[(&big, "Item size has exceeded the maximum allowed size")]);
    let put = PutItem::parse(
        br#"{"TableName":"abc","Item":{"a":{"S":"b"}},"ReturnValues":"ALL_OLD","ConditionExpression":"attribute_not_exists(a)",
            "ReturnConsumedCapacity":"TOTAL","ReturnItemCollectionMetrics":"SIZE","ReturnValuesOnConditionCheckFailure":"ALL_OLD"}"#,
    )
    .unwrap();
    assert_eq!((put.table.as_str(), put.item_size, put.return_values), ("abc", 2, ReturnValues::AllOld));
    assert_eq!((put.item_on_failure, put.collection_metrics), (true, true));
    assert_eq!(put.consumed_capacity, ReturnConsumedCapacity::Total);
    let condition = put.condition.unwrap();
    assert!(!condition.matches(&put.item) && condition.matches(&crate::Item::new()));
}

#[test]
fn get_item() {
    check(
        "GetItem",
        &[
            (
                r#""TableName":"abc","Key":{"a":{"S":"b"}},"ConsistentRead":true,"ProjectionExpression":"a, b.c[0]""#,
                "",
            ),
            (
                r#""TableName":"abc","Key":{"a":{"S":"b"}},"AttributesToGet":[]"#,
                "1 validation error detected: Value '[]' at 'attributesToGet' failed to satisfy constraint: Member must have length greater than or equal to 1",
            ),
            (
                r#""TableName":"abc","Key":{"a":{}},"AttributesToGet":["a"],"ProjectionExpression":"""#,
                &format!(
                    "{MIXED}Non-expression parameters: {{AttributesToGet}} Expression parameters: {{ProjectionExpression}}"
                ),
            ),
            (
                r#""TableName":"abc","Key":{"a":{"N":""}}"#,
                "The parameter cannot be converted to a numeric value",
            ),
            (
                r##""TableName":"abc","Key":{"a":{"S":"b"}},"AttributesToGet":["a"],"ExpressionAttributeNames":{"#a":"a"}"##,
                "ExpressionAttributeNames can only be specified when using expressions",
            ),
            (
                r##""TableName":"abc","Key":{"a":{"S":"b"}},"ProjectionExpression":"b","ExpressionAttributeNames":{"#a":"a"}"##,
                "Value provided in ExpressionAttributeNames unused in expressions: keys: {#a}",
            ),
        ],
    );
}

#[test]
fn delete_and_update_item() {
    check(
        "DeleteItem",
        &[
            (r#""TableName":"abc","Key":{"a":{"S":"b"}}"#, ""),
            (
                r#""TableName":"abc","Key":{"a":{"S":"b"}},"ReturnValues":"UPDATED_OLD""#,
                "ReturnValues can only be ALL_OLD or NONE",
            ),
            (
                r#""TableName":"abc","Key":{"a":{"S":"b"}},"ConditionalOperator":"OR""#,
                "ConditionalOperator cannot be used without Filter or Expected",
            ),
        ],
    );
    check(
        "UpdateItem",
        &[
            (r#""TableName":"abc","Key":{"a":{"S":"b"}}"#, ""),
            (
                r#""TableName":"abc","Key":{"a":{"S":"b"}},"AttributeUpdates":{},"Expected":{},"UpdateExpression":"REMOVE x","ConditionExpression":"x = y""#,
                &format!(
                    "{MIXED}Non-expression parameters: {{AttributeUpdates, Expected}} Expression parameters: {{UpdateExpression, ConditionExpression}}"
                ),
            ),
            (
                r#""TableName":"abc","Key":{"a":{"S":"b"}},"ExpressionAttributeValues":{":a":{"S":"a"}}"#,
                "ExpressionAttributeValues can only be specified when using expressions: UpdateExpression and ConditionExpression are null",
            ),
            (
                r#""TableName":"abc","Key":{"a":{"S":"b"}},"AttributeUpdates":{"x":{"Action":"X"}}"#,
                "1 validation error detected: Value 'X' at 'attributeUpdates.x.member.action' failed to satisfy constraint: Member must satisfy enum value set: [ADD, DELETE, PUT]",
            ),
            (
                r#""TableName":"abc","Key":{"a":{"S":"b"}},"AttributeUpdates":{"x":{"Action":"PUT"}}"#,
                "One or more parameter values were invalid: Only DELETE action is allowed when no attribute value is specified",
            ),
            (
                r#""TableName":"abc","Key":{"a":{"S":"b"}},"UpdateExpression":"SET x = :v","ConditionExpression":"x =","ExpressionAttributeValues":{":w":{"S":"a"}}"#,
                "Invalid UpdateExpression: An expression attribute value used in expression is not defined; attribute value: :v",
            ),
            (
                r#""TableName":"abc","Key":{"a":{"S":"b"}},"ReturnValues":"UPDATED_NEW","UpdateExpression":"REMOVE x""#,
                "",
            ),
        ],
    );
    let schema = music();
    for (body, message) in [
        (r#"{"TableName":"abc","Key":{"pk":{"S":"b"},"sk":{"N":"1"}},"UpdateExpression":"REMOVE x"}"#, ""),
        (
            r#"{"TableName":"abc","Key":{"pk":{"S":"b"},"sk":{"N":"1"}},"UpdateExpression":"REMOVE sk"}"#,
            "One or more parameter values were invalid: Cannot update attribute sk. This attribute is part of the key",
        ),
        (
            r#"{"TableName":"abc","Key":{"pk":{"S":"b"},"sk":{"N":"1"}},"AttributeUpdates":{"pk":{"Value":{"S":"x"}}}}"#,
            "One or more parameter values were invalid: Cannot update attribute pk. This attribute is part of the key",
        ),
        (
            r#"{"TableName":"abc","Key":{"pk":{"S":"b"}},"UpdateExpression":"REMOVE sk"}"#,
            "The provided key element does not match the schema",
        ),
    ] {
        let result = UpdateItem::parse(body.as_bytes()).unwrap().check_schema(&schema);
        assert_eq!(result.err().map(|error| error.message).unwrap_or_default(), message, "{body}");
    }
}

/// pk S, sk N; local index on n N; global index on g S, keys only.
pub(super) fn music() -> TableSchema {
    CreateTable::parse(
        br#"{"TableName":"Music","BillingMode":"PAY_PER_REQUEST",
            "KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"sk","KeyType":"RANGE"}],
            "AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"},{"AttributeName":"sk","AttributeType":"N"},
                {"AttributeName":"n","AttributeType":"N"},{"AttributeName":"g","AttributeType":"S"}],
            "LocalSecondaryIndexes":[{"IndexName":"local","Projection":{"ProjectionType":"ALL"},
                "KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"n","KeyType":"RANGE"}]}],
            "GlobalSecondaryIndexes":[{"IndexName":"global","Projection":{"ProjectionType":"KEYS_ONLY"},
                "KeySchema":[{"AttributeName":"g","KeyType":"HASH"}]}]}"#,
    )
    .unwrap()
    .schema
}

#[test]
fn query() {
    let missing =
        "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.";
    check(
        "Query",
        &[
            (r#""TableName":"abc""#, missing),
            (r#""TableName":"abc","FilterExpression":"a = b""#, missing),
            (
                r#""TableName":"abc","ExpressionAttributeValues":{":a":{"S":"a"}}"#,
                "ExpressionAttributeValues can only be specified when using expressions: FilterExpression and KeyConditionExpression are null",
            ),
            (
                r#""TableName":"abc","Limit":0,"Select":"X","IndexName":"a;""#,
                "4 validation errors detected: Value 'a;' at 'indexName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; Value 'a;' at 'indexName' failed to satisfy constraint: Member must have length greater than or equal to 3; Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1; Value 'X' at 'select' failed to satisfy constraint: Member must satisfy enum value set: [SPECIFIC_ATTRIBUTES, COUNT, ALL_ATTRIBUTES, ALL_PROJECTED_ATTRIBUTES]",
            ),
            (
                r#""TableName":"abc","KeyConditions":{"a":{}}"#,
                "1 validation error detected: Value null at 'keyConditions.a.member.comparisonOperator' failed to satisfy constraint: Member must not be null",
            ),
            (
                r#""TableName":"abc","KeyConditionExpression":"pk = :p","KeyConditions":{},"AttributesToGet":["a"],"QueryFilter":{},"ConditionalOperator":"AND","FilterExpression":"a = b","ProjectionExpression":"c""#,
                &format!(
                    "{MIXED}Non-expression parameters: {{AttributesToGet, QueryFilter, ConditionalOperator, KeyConditions}} Expression parameters: {{ProjectionExpression, FilterExpression, KeyConditionExpression}}"
                ),
            ),
            (
                r#""TableName":"abc","KeyConditionExpression":"pk =","FilterExpression":"a =","ProjectionExpression":"a.""#,
                "Invalid FilterExpression: Syntax error; token: \"<EOF>\", near: \"=\"",
            ),
            (
                r#""TableName":"abc","KeyConditionExpression":"pk =","ProjectionExpression":"a.""#,
                "Invalid ProjectionExpression: Syntax error; token: \"<EOF>\", near: \".\"",
            ),
            (
                r#""TableName":"abc","KeyConditionExpression":"pk = :p","Select":"COUNT","ProjectionExpression":"a""#,
                "1 validation error detected: Cannot specify the ProjectionExpression when choosing to get only the Count",
            ),
            (
                r#""TableName":"abc","KeyConditionExpression":"pk = :p","Select":"SPECIFIC_ATTRIBUTES""#,
                "1 validation error detected: Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES",
            ),
            (
                r#""TableName":"abc","KeyConditionExpression":"pk = :p","Select":"ALL_PROJECTED_ATTRIBUTES""#,
                "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName",
            ),
            (
                r#""TableName":"abc","KeyConditionExpression":"pk = :p","ExclusiveStartKey":{"a":{}}"#,
                "The provided starting key is invalid: Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
            ),
        ],
    );
}

#[test]
fn query_plans() {
    let schema = music();
    let values = r#""ExpressionAttributeValues":{":p":{"S":"x"},":n":{"N":"5"}}"#;
    let one = r#""ExpressionAttributeValues":{":p":{"S":"x"}}"#;
    for (body, message) in [
        (format!(r#""KeyConditionExpression":"pk = :p",{one}"#), ""),
        (format!(r#""KeyConditionExpression":"pk = :p and sk < :n",{values}"#), ""),
        (
            format!(r#""IndexName":"nope","KeyConditionExpression":"pk = :p",{one}"#),
            "The table does not have the specified index: nope",
        ),
        (
            format!(r#""IndexName":"global","ConsistentRead":true,"KeyConditionExpression":"g = :p",{one}"#),
            "Consistent reads are not supported on global secondary indexes",
        ),
        (
            format!(
                r#""IndexName":"global","KeyConditionExpression":"g = :p","ProjectionExpression":"n1, l[0], Abc.x, l[1], pk",{one}"#
            ),
            "One or more parameter values were invalid: Global secondary index global does not project [Abc, n1, l]",
        ),
        (
            format!(
                r#""IndexName":"global","KeyConditionExpression":"g = :p","FilterExpression":"l = n1 OR Abc = l",{one}"#
            ),
            "One or more parameter values were invalid: Secondary index global does not project one or more filter attributes: [Abc, n1, l]",
        ),
        (
            format!(
                r#""IndexName":"global","Select":"ALL_ATTRIBUTES","KeyConditionExpression":"g = :p",{one}"#
            ),
            "One or more parameter values were invalid: Select type ALL_ATTRIBUTES is not supported for global secondary index global because its projection type is not ALL",
        ),
        (
            format!(
                r#""IndexName":"local","Select":"ALL_ATTRIBUTES","KeyConditionExpression":"pk = :p",{one}"#
            ),
            "",
        ),
        (
            format!(r#""KeyConditionExpression":"sk = :n",{}"#, values.replace(r#"":p":{"S":"x"},"#, "")),
            "Query condition missed key schema element: pk",
        ),
        (
            format!(r#""KeyConditionExpression":"pk = :p","FilterExpression":"sk = :n",{values}"#),
            "Filter Expression can only contain non-primary key attributes: Primary key attribute: sk",
        ),
        (
            format!(r#""KeyConditionExpression":"pk = :p","ExclusiveStartKey":{{"pk":{{"S":"x"}}}},{one}"#),
            "The provided starting key is invalid",
        ),
        (
            format!(
                r#""KeyConditionExpression":"pk = :p","ExclusiveStartKey":{{"pk":{{"S":"x"}},"sk":{{"S":"1"}}}},{one}"#
            ),
            "The provided starting key is invalid",
        ),
        (
            format!(
                r#""KeyConditionExpression":"pk = :p","ExclusiveStartKey":{{"pk":{{"S":"y"}},"sk":{{"N":"1"}}}},{one}"#
            ),
            "The provided starting key is outside query boundaries based on provided conditions",
        ),
        (
            format!(
                r#""KeyConditionExpression":"pk = :p and sk < :n","ExclusiveStartKey":{{"pk":{{"S":"x"}},"sk":{{"N":"9"}}}},{values}"#
            ),
            "The provided starting key does not match the range key predicate",
        ),
        (
            format!(
                r#""KeyConditionExpression":"pk = :p and sk < :n","ExclusiveStartKey":{{"pk":{{"S":"x"}},"sk":{{"N":"1"}}}},{values}"#
            ),
            "",
        ),
        (
            format!(
                r#""IndexName":"global","KeyConditionExpression":"g = :p","ExclusiveStartKey":{{"g":{{"S":"x"}}}},{one}"#
            ),
            "The provided starting key is invalid",
        ),
        (
            format!(
                r#""IndexName":"global","KeyConditionExpression":"g = :p","ExclusiveStartKey":{{"g":{{"S":"x"}},"pk":{{"S":"a"}},"sk":{{"N":"1"}}}},{one}"#
            ),
            "",
        ),
    ] {
        let query = Query::parse(format!(r#"{{"TableName":"Music",{body}}}"#).as_bytes()).unwrap();
        let result = query.plan(&schema);
        assert_eq!(result.err().map(|error| error.message).unwrap_or_default(), message, "{body}");
    }
    let body = format!(
        r#"{{"TableName":"Music","KeyConditionExpression":"pk = :p and sk < :n","ScanIndexForward":false,"Limit":3,{values}}}"#
    );
    let query = Query::parse(body.as_bytes()).unwrap();
    let plan = query.plan(&schema).unwrap();
    assert_eq!((query.forward, query.limit, plan.select), (false, Some(3), Select::AllAttributes));
    assert_eq!(plan.partition, key::encode_elements([&AttributeValue::S("x".into())]).unwrap());
    assert_eq!(plan.sort, SortCondition::Less(AttributeValue::N(5i64.into())));
    let prefix = key::partition_prefix(key::space::TABLE, 1, 2, &plan.partition);
    let range = plan.range(&prefix).unwrap();
    let at = |n: i64| {
        let sort = key::encode_elements([&AttributeValue::N(n.into())]).unwrap();
        key::item_key(key::space::TABLE, 1, 2, &plan.partition, &sort)
    };
    assert!(range.contains(&at(4)) && !range.contains(&at(5)));
}

#[test]
fn scan() {
    check(
        "Scan",
        &[
            (r#""TableName":"abc""#, ""),
            (r#""TableName":"abc","Segment":0,"TotalSegments":1"#, ""),
            (
                r#""TableName":"abc","Segment":-1,"TotalSegments":0"#,
                "2 validation errors detected: Value '-1' at 'segment' failed to satisfy constraint: Member must have value greater than or equal to 0; Value '0' at 'totalSegments' failed to satisfy constraint: Member must have value greater than or equal to 1",
            ),
            (
                r#""TableName":"abc","TotalSegments":1000001,"Segment":1"#,
                "1 validation error detected: Value '1000001' at 'totalSegments' failed to satisfy constraint: Member must have value less than or equal to 1000000",
            ),
            (
                r#""TableName":"abc","Segment":0"#,
                "The TotalSegments parameter is required but was not present in the request when Segment parameter is present",
            ),
            (
                r#""TableName":"abc","TotalSegments":1"#,
                "The Segment parameter is required but was not present in the request when parameter TotalSegments is present",
            ),
            (
                r#""TableName":"abc","Segment":2,"TotalSegments":2"#,
                "The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: 2 is not less than TotalSegments: 2",
            ),
            (
                r#""TableName":"abc","ExpressionAttributeValues":{":a":{"S":"a"}},"ProjectionExpression":"a""#,
                "ExpressionAttributeValues can only be specified when using expressions: FilterExpression is null",
            ),
            (
                r#""TableName":"abc","Select":"SPECIFIC_ATTRIBUTES""#,
                "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES",
            ),
            (
                r#""TableName":"abc","Select":"ALL_ATTRIBUTES","AttributesToGet":["a"]"#,
                "Cannot specify the AttributesToGet when choosing to get ALL_ATTRIBUTES",
            ),
            (
                r#""TableName":"abc","ScanFilter":{"a":{"ComparisonOperator":"EQ"}}"#,
                "One or more parameter values were invalid: Invalid number of argument(s) for the EQ ComparisonOperator",
            ),
            (
                r#""TableName":"abc","ScanFilter":{"a":{"ComparisonOperator":"EQ","AttributeValueList":[{"S":"x"}]}}"#,
                "",
            ),
        ],
    );
    let schema = music();
    for (body, message) in [
        (r#"{"TableName":"abc"}"#, ""),
        (r#"{"TableName":"abc","IndexName":"nope"}"#, "The table does not have the specified index: nope"),
        (
            r#"{"TableName":"abc","ExclusiveStartKey":{"pk":{"S":"a"}}}"#,
            "The provided starting key is invalid: The provided key element does not match the schema",
        ),
        (
            r#"{"TableName":"abc","IndexName":"global","ExclusiveStartKey":{"pk":{"S":"a"},"sk":{"N":"1"}}}"#,
            "The provided starting key is invalid",
        ),
        (r#"{"TableName":"abc","ExclusiveStartKey":{"pk":{"S":"a"},"sk":{"N":"1"}}}"#, ""),
        (r#"{"TableName":"abc","IndexName":"global","FilterExpression":"attribute_not_exists(l)"}"#, ""),
        (
            r#"{"TableName":"abc","IndexName":"global","ProjectionExpression":"l"}"#,
            "One or more parameter values were invalid: Global secondary index global does not project [l]",
        ),
    ] {
        let scan = Scan::parse(body.as_bytes()).unwrap();
        assert_eq!(
            scan.plan(&schema).err().map(|error| error.message).unwrap_or_default(),
            message,
            "{body}"
        );
    }
}

#[test]
fn batches() {
    let key = |n: usize| format!(r#"{{"pk":{{"S":"a"}},"sk":{{"N":"{n}"}}}}"#);
    let keys = |n: usize| (0..n).map(key).collect::<Vec<_>>().join(",");
    check(
        "BatchGetItem",
        &[
            (
                "",
                "1 validation error detected: Value null at 'requestItems' failed to satisfy constraint: Member must not be null",
            ),
            (r#""RequestItems":{}"#, "The requestItems parameter is required for BatchGetItem"),
            (
                r#""RequestItems":{"abc":{}}"#,
                "1 validation error detected: Value null at 'requestItems.abc.member.keys' failed to satisfy constraint: Member must not be null",
            ),
            (
                r#""RequestItems":{"abc":{"Keys":[]}}"#,
                "1 validation error detected: Value '[]' at 'requestItems.abc.member.keys' failed to satisfy constraint: Member must have length greater than or equal to 1",
            ),
            (
                &format!(r#""RequestItems":{{"abc":{{"Keys":[{}]}}}}"#, keys(101)),
                "1 validation error detected: Value '[…]' at 'requestItems.abc.member.keys' failed to satisfy constraint: Member must have length less than or equal to 100",
            ),
            (&format!(r#""RequestItems":{{"abc":{{"Keys":[{}]}}}}"#, keys(100)), ""),
            (
                &format!(
                    r#""RequestItems":{{"abc":{{"Keys":[{}]}},"abd":{{"Keys":[{}]}}}}"#,
                    keys(60),
                    keys(60)
                ),
                "Too many items requested for the BatchGetItem call",
            ),
            (
                r#""RequestItems":{"abc":{"Keys":[{"a":{"N":"1"}},{"a":{"N":"1.0"}}]}}"#,
                "Provided list of item keys contains duplicates",
            ),
            (
                r#""RequestItems":{"abc":{"Keys":[{"a":{"N":"1"}}],"AttributesToGet":["a"],"ProjectionExpression":"a"}}"#,
                &format!(
                    "{MIXED}Non-expression parameters: {{AttributesToGet}} Expression parameters: {{ProjectionExpression}}"
                ),
            ),
        ],
    );
    let put = |n: usize| format!(r#"{{"PutRequest":{{"Item":{}}}}}"#, key(n));
    let puts = |n: usize| (0..n).map(put).collect::<Vec<_>>().join(",");
    let both = "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes";
    check(
        "BatchWriteItem",
        &[
            (r#""RequestItems":{}"#, "The requestItems parameter is required for BatchWriteItem"),
            (
                r#""RequestItems":{"abc":[]}"#,
                "1 validation error detected: Value '{abc=[]}' at 'requestItems' failed to satisfy constraint: Map value must satisfy constraint: [Member must have length less than or equal to 25, Member must have length greater than or equal to 1]",
            ),
            (
                r#""RequestItems":{"abc":[{"PutRequest":{}},{"DeleteRequest":{}}]}"#,
                "2 validation errors detected: Value null at 'requestItems.abc.member.1.member.putRequest.item' failed to satisfy constraint: Member must not be null; Value null at 'requestItems.abc.member.2.member.deleteRequest.key' failed to satisfy constraint: Member must not be null",
            ),
            (r#""RequestItems":{"abc":[{}]}"#, both),
            (r#""RequestItems":{"abc":[{"PutRequest":{"Item":{}},"DeleteRequest":{"Key":{}}}]}"#, both),
            (&format!(r#""RequestItems":{{"abc":[{}]}}"#, puts(25)), ""),
            (
                &format!(r#""RequestItems":{{"abc":[{}],"abd":[{}]}}"#, puts(20), puts(6)),
                "Too many items requested for the BatchWriteItem call",
            ),
            (
                r#""RequestItems":{"abc":[{"PutRequest":{"Item":{"a":{"N":"x"}}}}]}"#,
                "The parameter cannot be converted to a numeric value: x",
            ),
        ],
    );
    let schema = music();
    for (body, message) in [
        (format!("[{}]", puts(3)), ""),
        (
            format!("[{},{{\"DeleteRequest\":{{\"Key\":{}}}}}]", put(1), key(1)),
            "Provided list of item keys contains duplicates",
        ),
        (
            r#"[{"PutRequest":{"Item":{"pk":{"S":"a"}}}}]"#.to_string(),
            "One or more parameter values were invalid: Missing the key sk in the item",
        ),
        (
            r#"[{"DeleteRequest":{"Key":{"pk":{"S":"a"}}}}]"#.to_string(),
            "The provided key element does not match the schema",
        ),
    ] {
        let batch =
            BatchWriteItem::parse(format!(r#"{{"RequestItems":{{"Music":{body}}}}}"#).as_bytes()).unwrap();
        let result = batch.tables["Music"].check_schema(&schema);
        assert_eq!(result.err().map(|error| error.message).unwrap_or_default(), message, "{body}");
    }
}

#[test]
fn control_operations() {
    let required = "The parameter 'TableName' is required but was not present in the request";
    let length = "TableName must be at least 3 characters long and at most 255 characters long";
    let long = format!(r#""TableName":"{}""#, "x".repeat(256));
    for operation in ["CreateTable", "DescribeTable", "DeleteTable"] {
        check(
            operation,
            &[
                ("", required),
                (r#""TableName":"""#, length),
                (r#""TableName":"ab""#, length),
                (&long, length),
            ],
        );
    }
    let pattern = "1 validation error detected: Value 'a;bc' at 'tableName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+";
    check("DescribeTable", &[(r#""TableName":"a;bc""#, pattern), (r#""TableName":"abc""#, "")]);
    check("DeleteTable", &[(r#""TableName":"a;bc""#, pattern), (r#""TableName":"abc""#, "")]);
    check(
        "ListTables",
        &[
            ("", ""),
            (
                r#""Limit":0,"ExclusiveStartTableName":"a;""#,
                "3 validation errors detected: Value 'a;' at 'exclusiveStartTableName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; Value 'a;' at 'exclusiveStartTableName' failed to satisfy constraint: Member must have length greater than or equal to 3; Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1",
            ),
            (
                r#""Limit":101"#,
                "1 validation error detected: Value '101' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 100",
            ),
        ],
    );
    assert_eq!(ListTables::parse(b"{}").unwrap(), ListTables { start: None, limit: 100 });
}

/// Key schema, definitions, throughput: what most cases share. Roles are given as `pk` / `pk,sk`.
pub(super) fn table(keys: &str, definitions: &str, rest: &str) -> String {
    let element = |(index, name): (usize, &str)| {
        format!(r#"{{"AttributeName":"{name}","KeyType":"{}"}}"#, if index == 0 { "HASH" } else { "RANGE" })
    };
    let keys: Vec<String> = keys.split(',').enumerate().map(element).collect();
    let definitions: Vec<String> = definitions
        .split(',')
        .map(|name| format!(r#"{{"AttributeName":"{name}","AttributeType":"S"}}"#))
        .collect();
    format!(
        r#""TableName":"abc","KeySchema":[{}],"AttributeDefinitions":[{}]{rest}"#,
        keys.join(","),
        definitions.join(",")
    )
}

#[test]
fn create_table_constraints() {
    check(
        "CreateTable",
        &[
            (
                r#""TableName":"abc""#,
                "2 validation errors detected: Value null at 'attributeDefinitions' failed to satisfy constraint: Member must not be null; Value null at 'keySchema' failed to satisfy constraint: Member must not be null",
            ),
            (
                r#""TableName":"abc","AttributeDefinitions":[{"AttributeName":"","AttributeType":"X"}],"KeySchema":[]"#,
                "3 validation errors detected: Value '' at 'attributeDefinitions.1.member.attributeName' failed to satisfy constraint: Member must have length greater than or equal to 1; Value 'X' at 'attributeDefinitions.1.member.attributeType' failed to satisfy constraint: Member must satisfy enum value set: [B, N, S]; Value '[]' at 'keySchema' failed to satisfy constraint: Member must have length greater than or equal to 1",
            ),
            (
                &table("a", "a", r#","ProvisionedThroughput":{"ReadCapacityUnits":0}"#),
                "2 validation errors detected: Value '0' at 'provisionedThroughput.readCapacityUnits' failed to satisfy constraint: Member must have value greater than or equal to 1; Value null at 'provisionedThroughput.writeCapacityUnits' failed to satisfy constraint: Member must not be null",
            ),
            (
                &table("a", "a", r#","BillingMode":"X""#),
                "1 validation error detected: Value 'X' at 'billingMode' failed to satisfy constraint: Member must satisfy enum value set: [PROVISIONED, PAY_PER_REQUEST]",
            ),
            (
                r#""TableName":"abc","AttributeDefinitions":[],"KeySchema":[{"AttributeName":"a","KeyType":"X"}]"#,
                "1 validation error detected: Value 'X' at 'keySchema.1.member.keyType' failed to satisfy constraint: Member must satisfy enum value set: [HASH, RANGE]",
            ),
            (
                r#""TableName":"abc","AttributeDefinitions":[],"KeySchema":[{"AttributeName":"a","KeyType":"HASH"},{"AttributeName":"b","KeyType":"RANGE"},{"AttributeName":"c","KeyType":"RANGE"}]"#,
                "1 validation error detected: Value '[KeySchemaElement(attributeName=a, keyType=HASH), KeySchemaElement(attributeName=b, keyType=RANGE), KeySchemaElement(attributeName=c, keyType=RANGE)]' at 'keySchema' failed to satisfy constraint: Member must have length less than or equal to 2",
            ),
            (
                &table("a", "a", r#","LocalSecondaryIndexes":[{}]"#),
                "3 validation errors detected: Value null at 'localSecondaryIndexes.1.member.indexName' failed to satisfy constraint: Member must not be null; Value null at 'localSecondaryIndexes.1.member.keySchema' failed to satisfy constraint: Member must not be null; Value null at 'localSecondaryIndexes.1.member.projection' failed to satisfy constraint: Member must not be null",
            ),
            (
                &table("a", "a", r#","StreamSpecification":{},"TableClass":"X","Tags":[{"Key":""}]"#),
                "4 validation errors detected: Value null at 'streamSpecification.streamEnabled' failed to satisfy constraint: Member must not be null; Value '' at 'tags.1.member.key' failed to satisfy constraint: Member must have length greater than or equal to 1; Value null at 'tags.1.member.value' failed to satisfy constraint: Member must not be null; Value 'X' at 'tableClass' failed to satisfy constraint: Member must satisfy enum value set: [STANDARD, STANDARD_INFREQUENT_ACCESS]",
            ),
        ],
    );
}

#[test]
fn create_table() {
    let units = r#","ProvisionedThroughput":{"ReadCapacityUnits":1,"WriteCapacityUnits":1}"#;
    let demand = r#","BillingMode":"PAY_PER_REQUEST""#;
    let index = |kind: &str, name: &str, keys: &str, projection: &str| {
        let keys = table(keys, "x", "");
        let keys =
            &keys[keys.find("\"KeySchema\"").unwrap()..keys.find(",\"AttributeDefinitions\"").unwrap()];
        format!(r#"{demand},"{kind}":[{{"IndexName":"{name}",{keys},"Projection":{projection}}}]"#)
    };
    let local = |keys: &str, projection: &str| index("LocalSecondaryIndexes", "ind", keys, projection);
    let global = |keys: &str, projection: &str| index("GlobalSecondaryIndexes", "ind", keys, projection);
    let all = r#"{"ProjectionType":"ALL"}"#;
    let invalid = |fault: &str| format!("One or more parameter values were invalid: {fault}");
    let many = |kind: &str, keys: &str, count: usize| {
        let one = index(kind, "ind@", keys, all);
        let start = one.find(":[").unwrap() + 2;
        let body = &one[start..one.len() - 1];
        let bodies: Vec<String> = (0..count).map(|n| body.replace('@', &n.to_string())).collect();
        format!("{}{}]", &one[..start], bodies.join(","))
    };
    let cases = [
        (table("a", "a", units), String::new()),
        (table("a,b", "a,b", demand), String::new()),
        (
            table("a", "a", ""),
            invalid(
                "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
            ),
        ),
        (
            table("a", "a", &format!("{units}{demand}")),
            invalid(
                "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST",
            ),
        ),
        (
            table("a", "a", &units.replace("Units\":1,", "Units\":1000000000001,")),
            "Given value 1000000000001 for ReadCapacityUnits is out of bounds".into(),
        ),
        (
            table("a", "a,b", units),
            invalid(
                "Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions",
            ),
        ),
        (
            table("a,b", "c,b", units),
            invalid(
                "Some index key attributes are not defined in AttributeDefinitions. Keys: [a, b], AttributeDefinitions: [c, b]",
            ),
        ),
        (
            table("a,a", "a", units),
            "Both the Hash Key and the Range Key element in the KeySchema have the same name".into(),
        ),
        (
            table("a", "a", units).replace("HASH", "RANGE"),
            "Invalid KeySchema: The first KeySchemaElement is not a HASH key type".into(),
        ),
        (
            table("a,b", "a,b", units).replace("RANGE", "HASH"),
            "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type".into(),
        ),
        (
            table("a", "a", &format!(r#"{units},"LocalSecondaryIndexes":[]"#)),
            invalid("List of LocalSecondaryIndexes is empty"),
        ),
        (
            table("a", "a", &format!(r#"{units},"GlobalSecondaryIndexes":[]"#)),
            invalid("List of GlobalSecondaryIndexes is empty"),
        ),
        (table("a,b", "a,b,c", &local("a,c", all)), String::new()),
        (
            table("a", "a,c", &local("a,c", all)),
            invalid(
                "Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex",
            ),
        ),
        (
            table("a,b", "a,b", &local("a", all)),
            invalid("Index KeySchema does not have a range key for index: ind"),
        ),
        (
            table("a,b", "a,b,c", &local("b,c", all)),
            invalid(
                "Index KeySchema does not have the same leading hash key as table KeySchema for index: ind. index hash key: b, table hash key: a",
            ),
        ),
        (
            table("a,b", "a,b", &local("a,c", all)),
            invalid(
                "Some index key attributes are not defined in AttributeDefinitions. Keys: [a, c], AttributeDefinitions: [a, b]",
            ),
        ),
        (
            table("a,b", "a,b,c,d", &local("a,c", all)),
            invalid(
                "Some AttributeDefinitions are not used. AttributeDefinitions: [a, b, c, d], keys used: [a, b, c]",
            ),
        ),
        (table("a,b", "a,b,c", &local("a,c", "{}")), invalid("Unknown ProjectionType: null")),
        (table("a,b", "a,b,c,d,e", &global("c,d,e", all)), String::new()),
        (
            table("a,b", "a,b,c,d,e,f,g,h", &global("c,d,e,f,g,h", all)),
            "Invalid KeySchema: The KeySchema exceeds the maximum allowed number of RANGE key attributes"
                .into(),
        ),
        (
            table(
                "a,b",
                "a,b,c,d",
                &global("c,d,b", all).replace(r#""b","KeyType":"RANGE""#, r#""b","KeyType":"HASH""#),
            ),
            "Invalid KeySchema: All HASH key attributes must precede RANGE key attributes in the KeySchema"
                .into(),
        ),
        (
            table(
                "a,b",
                "a,b,c",
                &local("a,c", r#"{"ProjectionType":"KEYS_ONLY","NonKeyAttributes":["x"]}"#),
            ),
            invalid("ProjectionType is KEYS_ONLY, but NonKeyAttributes is specified"),
        ),
        (
            table("a,b", "a,b,c", &global("c", r#"{"ProjectionType":"INCLUDE"}"#)),
            invalid("ProjectionType is INCLUDE, but NonKeyAttributes is not specified"),
        ),
        (table("a,b", "a,b,c", &many("LocalSecondaryIndexes", "a,c", 5)), String::new()),
        (
            table("a,b", "a,b,c", &many("LocalSecondaryIndexes", "a,c", 6)),
            invalid("Number of LocalSecondaryIndexes exceeds per-table limit of 5"),
        ),
        (
            table("a,b", "a,b,c", &many("GlobalSecondaryIndexes", "c", 21)),
            invalid("Number of GlobalSecondaryIndexes exceeds per-table limit of 20"),
        ),
        (
            table("a,b", "a,b,c", &many("GlobalSecondaryIndexes", "c", 2).replace("ind1", "ind0")),
            invalid("Duplicate index name: ind0"),
        ),
        (
            table("a,b", "a,b,c", &global("c", all).replace(demand, units)),
            invalid("ProvisionedThroughput is not specified for index: ind"),
        ),
        (
            table(
                "a",
                "a",
                &format!(
                    r#"{units},"StreamSpecification":{{"StreamEnabled":false,"StreamViewType":"NEW_IMAGE"}}"#
                ),
            ),
            invalid("Table is being created with a stream disabled, UpdateViewType should not be specified"),
        ),
    ];
    for (body, message) in &cases {
        check("CreateTable", &[(body, message)]);
    }
}

#[test]
fn created_schemas() {
    let schema = music();
    assert_eq!((schema.name.as_str(), schema.billing), ("Music", BillingMode::PayPerRequest));
    assert_eq!(schema.key.attributes().map(|a| a.name.as_str()).collect::<Vec<_>>(), ["pk", "sk"]);
    assert_eq!(
        schema.indexes().map(|index| (index.name(), index.is_global())).collect::<Vec<_>>(),
        [("local", false), ("global", true)]
    );
    assert_eq!(TableSchema::from_json(&schema.to_json()).unwrap(), schema);
}

/// One valid body for each operation, rich enough that damage reaches every reader.
const SAMPLES: [(&str, &str); 10] = [
    (
        "PutItem",
        r##"{"TableName":"abc","Item":{"a":{"S":"b\u0041"},"n":{"N":"-1.5e3"},"l":{"L":[{"M":{"x":{"NULL":true}}},{"BS":["YQ=="]}]}},"ConditionExpression":"#a <> :v AND size(l[0].x) < :v","ExpressionAttributeNames":{"#a":"a"},"ExpressionAttributeValues":{":v":{"N":"12"}}}"##,
    ),
    (
        "PutItem",
        r#"{"TableName":"abc","Item":{"a":{"S":"b"}},"Expected":{"a":{"ComparisonOperator":"BETWEEN","AttributeValueList":[{"N":"1"},{"N":"2"}]},"b":{"Exists":false}},"ConditionalOperator":"OR"}"#,
    ),
    (
        "GetItem",
        r#"{"TableName":"arn:aws:dynamodb:us-east-1:1:table/abc","Key":{"a":{"B":"YWJj"}},"ConsistentRead":"yes","ProjectionExpression":"a.b[3], c"}"#,
    ),
    (
        "UpdateItem",
        r#"{"TableName":"abc","Key":{"a":{"S":"b"}},"UpdateExpression":"SET x = if_not_exists(x, :v) + :v REMOVE y[0] ADD z :v","ExpressionAttributeValues":{":v":{"N":"1"}},"ReturnValues":"ALL_NEW"}"#,
    ),
    (
        "UpdateItem",
        r#"{"TableName":"abc","Key":{"a":{"S":"b"}},"AttributeUpdates":{"x":{"Action":"ADD","Value":{"NS":["1","2"]}}}}"#,
    ),
    (
        "Query",
        r#"{"TableName":"abc","IndexName":"ind","KeyConditionExpression":"a = :v AND begins_with(b, :v)","FilterExpression":"c IN (:v)","ExpressionAttributeValues":{":v":{"S":"1"}},"Limit":10,"ExclusiveStartKey":{"a":{"S":"x"}},"Select":"COUNT"}"#,
    ),
    (
        "Scan",
        r#"{"TableName":"abc","ScanFilter":{"x":{"ComparisonOperator":"NOT_NULL"}},"Segment":1,"TotalSegments":4,"AttributesToGet":["x"]}"#,
    ),
    (
        "BatchGetItem",
        r#"{"RequestItems":{"abc":{"Keys":[{"a":{"S":"1"}},{"a":{"S":"2"}}],"ConsistentRead":true,"ProjectionExpression":"a"}},"ReturnConsumedCapacity":"TOTAL"}"#,
    ),
    (
        "BatchWriteItem",
        r#"{"RequestItems":{"abc":[{"PutRequest":{"Item":{"a":{"SS":["1","2"]}}}},{"DeleteRequest":{"Key":{"a":{"S":"2"}}}}]}}"#,
    ),
    (
        "CreateTable",
        r#"{"TableName":"abc","KeySchema":[{"AttributeName":"a","KeyType":"HASH"},{"AttributeName":"b","KeyType":"RANGE"}],"AttributeDefinitions":[{"AttributeName":"a","AttributeType":"S"},{"AttributeName":"b","AttributeType":"N"}],"ProvisionedThroughput":{"ReadCapacityUnits":5,"WriteCapacityUnits":5},"LocalSecondaryIndexes":[{"IndexName":"ind","KeySchema":[{"AttributeName":"a","KeyType":"HASH"},{"AttributeName":"b","KeyType":"RANGE"}],"Projection":{"ProjectionType":"INCLUDE","NonKeyAttributes":["x"]}}],"StreamSpecification":{"StreamEnabled":true,"StreamViewType":"NEW_IMAGE"},"Tags":[{"Key":"k","Value":"v"}]}"#,
    ),
];

#[test]
fn samples_are_valid() {
    for (operation, body) in SAMPLES {
        parse(operation, body).unwrap_or_else(|error| panic!("{operation}: {error}"));
    }
}

proptest::proptest! {
    /// Whatever is cut, doubled or replaced: an answer with a client's error, never a panic.
    #[test]
    fn damaged_requests_are_answered(
        which in 0..SAMPLES.len(),
        at in proptest::prelude::any::<proptest::sample::Index>(),
        with in proptest::prop_oneof!["[\\[\\]{}\",:0-9a-z\\\\]{0,3}", "null", "\\{\\}", "\\[\\]", "-1", "true", "\"\""],
        cut in 0usize..8,
    ) {
        let (operation, body) = SAMPLES[which];
        let at = at.index(body.len());
        let end = (at + cut).min(body.len());
        // The samples are ASCII, so any index is a boundary.
        let damaged = format!("{}{with}{}", &body[..at], &body[end..]);
        if let Err(error) = parse(operation, &damaged) {
            proptest::prop_assert_eq!(error.code.status(), 400);
            proptest::prop_assert!(!error.to_json().is_empty());
        }
    }
}

const MUST_NOT_BE_NULL: &str = "failed to satisfy constraint: Member must not be null";

#[test]
fn update_table() {
    let t = r#""TableName":"abc""#;
    let pay = "One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST";
    check(
        "UpdateTable",
        &[
            ("", "The parameter 'TableName' is required but was not present in the request"),
            (
                t,
                "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates or SSESpecification or ReplicaUpdates is required",
            ),
            (
                &format!(r#"{t},"BillingMode":"X""#),
                "1 validation error detected: Value 'X' at 'billingMode' failed to satisfy constraint: Member must satisfy enum value set: [PROVISIONED, PAY_PER_REQUEST]",
            ),
            (
                &format!(r#"{t},"ProvisionedThroughput":{{"ReadCapacityUnits":0}}"#),
                &format!(
                    "2 validation errors detected: Value '0' at 'provisionedThroughput.readCapacityUnits' failed to satisfy constraint: Member must have value greater than or equal to 1; Value null at 'provisionedThroughput.writeCapacityUnits' {MUST_NOT_BE_NULL}"
                ),
            ),
            (
                &format!(r#"{t},"StreamSpecification":{{"StreamEnabled":true}}"#),
                "Invalid StreamViewType: Stream ViewType must not be null or empty when enabling streams.",
            ),
            (
                &format!(
                    r#"{t},"StreamSpecification":{{"StreamEnabled":false,"StreamViewType":"NEW_IMAGE"}}"#
                ),
                "Invalid StreamViewType: Stream StreamEnabled was false but a StreamViewType was present.",
            ),
            (&format!(r#"{t},"DeletionProtectionEnabled":false"#), ""),
            (&format!(r#"{t},"TableClass":"STANDARD""#), ""),
        ],
    );
    let create = r#"{"TableName":"abc","AttributeDefinitions":[{"AttributeName":"p","AttributeType":"S"}],"KeySchema":[{"AttributeName":"p","KeyType":"HASH"}],"ProvisionedThroughput":{"ReadCapacityUnits":5,"WriteCapacityUnits":5}}"#;
    let mut schema = CreateTable::parse(create.as_bytes()).unwrap().schema;
    let day = 24 * 60 * 60 * 1000;
    // Each step: what the request has beside the table, and what it is refused with.
    let steps = [
        (
            r#""ProvisionedThroughput":{"ReadCapacityUnits":5,"WriteCapacityUnits":5}"#,
            "The provisioned throughput for the table will not change. The requested value equals the current value. Current ReadCapacityUnits provisioned for the table: 5. Requested ReadCapacityUnits: 5. Current WriteCapacityUnits provisioned for the table: 5. Requested WriteCapacityUnits: 5. Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits.",
        ),
        (r#""ProvisionedThroughput":{"ReadCapacityUnits":4,"WriteCapacityUnits":6}"#, ""),
        (r#""ProvisionedThroughput":{"ReadCapacityUnits":3,"WriteCapacityUnits":6}"#, ""),
        (
            r#""OnDemandThroughput":{"MaxReadRequestUnits":3}"#,
            "One or more parameter values were invalid: OnDemandThroughput cannot be specified when BillingMode is PROVISIONED",
        ),
        (
            r#""BillingMode":"PAY_PER_REQUEST","ProvisionedThroughput":{"ReadCapacityUnits":3,"WriteCapacityUnits":6}"#,
            pay,
        ),
        (r#""BillingMode":"PAY_PER_REQUEST""#, ""),
        (r#""ProvisionedThroughput":{"ReadCapacityUnits":3,"WriteCapacityUnits":6}"#, pay),
        (
            r#""BillingMode":"PROVISIONED""#,
            "One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
        ),
        (r#""OnDemandThroughput":{"MaxReadRequestUnits":3,"MaxWriteRequestUnits":-1}"#, ""),
        (r#""StreamSpecification":{"StreamEnabled":false}"#, "Table has no stream to disable"),
        (r#""StreamSpecification":{"StreamEnabled":true,"StreamViewType":"KEYS_ONLY"}"#, ""),
        (
            r#""StreamSpecification":{"StreamEnabled":true,"StreamViewType":"NEW_IMAGE"}"#,
            "Table already has an enabled stream",
        ),
        (
            r#""DeletionProtectionEnabled":true,"TableClass":"STANDARD_INFREQUENT_ACCESS","SSESpecification":{"Enabled":true}"#,
            "",
        ),
    ];
    for (step, message) in steps {
        let update = UpdateTable::parse(format!("{{{t},{step}}}").as_bytes()).unwrap();
        match update.apply(&schema, day + 7) {
            Ok((new, _)) => {
                assert_eq!("", message, "{step}");
                schema = new;
            }
            Err(error) => assert_eq!(error.message, message, "{step}"),
        }
    }
    assert_eq!(schema.billing, BillingMode::PayPerRequest);
    assert_eq!((schema.throughput.read, schema.throughput.write), (0, 0));
    assert_eq!(schema.on_demand.map(|limit| (limit.max_read, limit.max_write)), Some((Some(3), None)));
    assert!(schema.deletion_protection && schema.sse.is_some() && schema.stream.is_some());
    let times = schema.times;
    assert_eq!(
        (times.increase, times.decrease, times.on_demand),
        (Some(day + 7), Some(day + 7), Some(day + 7))
    );
    assert_eq!((times.decreases_on_day_of(day + 9), times.decreases_on_day_of(2 * day)), (2, 0));
    assert_eq!(TableSchema::from_json(&schema.to_json()).unwrap(), schema);
}

#[test]
fn tags() {
    let arn = r#""ResourceArn":"arn:aws:dynamodb:us-east-1:000000000000:table/abc""#;
    let null = |path: &str| format!("1 validation error detected: Value null at '{path}' {MUST_NOT_BE_NULL}");
    check(
        "TagResource",
        &[
            (arn, &null("tags")),
            (r#""Tags":[{"Key":"k","Value":"v"}]"#, &null("resourceArn")),
            (
                r#""ResourceArn":"x","Tags":[{"Key":"k","Value":"v"}]"#,
                "Invalid TableArn: Invalid ResourceArn provided as input x",
            ),
            (&format!(r#"{arn},"Tags":[]"#), "Atleast one Tag needs to be provided as Input."),
            (
                &format!(r#"{arn},"Tags":[{{"Key":"aws:k","Value":"v"}}]"#),
                "One or more parameter values were invalid: Tag keys starting with \"aws:\" are reserved for system use",
            ),
            (&format!(r#"{arn},"Tags":[{{"Key":"k","Value":"v"}}]"#), ""),
        ],
    );
    check(
        "UntagResource",
        &[
            (arn, &null("tagKeys")),
            (&format!(r#"{arn},"TagKeys":[]"#), "Atleast one Tag Key needs to be provided as Input."),
            (&format!(r#"{arn},"TagKeys":["k"]"#), ""),
        ],
    );
    check("ListTagsOfResource", &[("", &null("resourceArn")), (arn, "")]);
    let tag = |pairs: &str| TagResource::parse(format!("{{{arn},\"Tags\":[{pairs}]}}").as_bytes()).unwrap();
    let many: Vec<String> = (0..50).map(|n| format!(r#"{{"Key":"k{n}","Value":"v"}}"#)).collect();
    let fifty = tag(&many.join(",")).apply(&Default::default()).unwrap();
    assert_eq!(fifty.len(), 50);
    let again = tag(r#"{"Key":"k1","Value":"w"}"#).apply(&fifty).unwrap();
    assert_eq!((again.len(), again["k1"].as_str()), (50, "w"));
    assert!(tag(r#"{"Key":"other","Value":"w"}"#).apply(&fifty).is_err());
    let untag = format!(r#"{{{arn},"TagKeys":["k1","nothing"]}}"#);
    assert_eq!(UntagResource::parse(untag.as_bytes()).unwrap().apply(&fifty).len(), 49);
}

#[test]
fn time_to_live() {
    let t = r#""TableName":"abc""#;
    let set = |enabled, name: &str| {
        format!(r#"{t},"TimeToLiveSpecification":{{"Enabled":{enabled},"AttributeName":"{name}"}}"#)
    };
    check(
        "UpdateTimeToLive",
        &[
            (
                t,
                &format!(
                    "1 validation error detected: Value null at 'timeToLiveSpecification' {MUST_NOT_BE_NULL}"
                ),
            ),
            (
                &set(true, ""),
                "1 validation error detected: Value '' at 'timeToLiveSpecification.attributeName' failed to satisfy constraint: Member must have length greater than or equal to 1",
            ),
            (&set(true, "expires"), ""),
        ],
    );
    let mut state = None;
    for (enabled, name, message) in [
        (false, "expires", "TimeToLive is already disabled"),
        (true, "expires", ""),
        (true, "expires", "TimeToLive is already enabled"),
        (
            false,
            "other",
            "TimeToLive is active on a different AttributeName: current AttributeName is expires",
        ),
        (false, "expires", ""),
    ] {
        let update = UpdateTimeToLive::parse(format!("{{{}}}", set(enabled, name)).as_bytes()).unwrap();
        match update.apply(state.as_ref()) {
            Ok(next) => {
                assert_eq!("", message);
                state = next;
            }
            Err(error) => assert_eq!(error.message, message),
        }
    }
    assert_eq!(state, None);
}

#[test]
fn features_that_are_absent_check_their_requests() {
    let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/abc/backup/01";
    check("DescribeEndpoints", &[("", ""), (r#""Other":1"#, "")]);
    check(
        "DescribeBackup",
        &[
            ("", &format!("1 validation error detected: Value null at 'backupArn' {MUST_NOT_BE_NULL}")),
            (
                r#""BackupArn":"short""#,
                "1 validation error detected: Value 'short' at 'backupArn' failed to satisfy constraint: Member must have length greater than or equal to 37",
            ),
            (&format!(r#""BackupArn":"{arn}""#), ""),
        ],
    );
    check(
        "CreateBackup",
        &[
            (
                r#""BackupName":"abc""#,
                "The parameter 'TableName' is required but was not present in the request",
            ),
            (
                r#""TableName":"abc""#,
                &format!("1 validation error detected: Value null at 'backupName' {MUST_NOT_BE_NULL}"),
            ),
            (r#""TableName":"abc","BackupName":"abc""#, ""),
        ],
    );
    check(
        "ListExports",
        &[
            ("", ""),
            (
                r#""MaxResults":26"#,
                "1 validation error detected: Value '26' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to 25",
            ),
        ],
    );
    check(
        "UpdateContinuousBackups",
        &[(
            r#""TableName":"abc""#,
            &format!(
                "1 validation error detected: Value null at 'pointInTimeRecoverySpecification' {MUST_NOT_BE_NULL}"
            ),
        )],
    );
    let on = br#"{"TableName":"abc","PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":true}}"#;
    assert!(FeatureRequest::parse("UpdateContinuousBackups", on).unwrap().unwrap().recovery_enabled);
    assert!(FeatureRequest::parse("PutItem", b"{}").is_none());
}

#[test]
fn paths_into_keys_are_refused() {
    let create = r#"{"TableName":"abc","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"p","AttributeType":"S"},{"AttributeName":"s","AttributeType":"S"},{"AttributeName":"l","AttributeType":"S"}],"KeySchema":[{"AttributeName":"p","KeyType":"HASH"},{"AttributeName":"s","KeyType":"RANGE"}],"LocalSecondaryIndexes":[{"IndexName":"byl","KeySchema":[{"AttributeName":"p","KeyType":"HASH"},{"AttributeName":"l","KeyType":"RANGE"}],"Projection":{"ProjectionType":"KEYS_ONLY"}}]}"#;
    let schema = CreateTable::parse(create.as_bytes()).unwrap().schema;
    let key = r#""TableName":"abc","Key":{"p":{"S":"a"},"s":{"S":"b"}}"#;
    let item = r#""TableName":"abc","Item":{"p":{"S":"a"},"s":{"S":"b"}}"#;
    let query = r#""TableName":"abc","IndexName":"byl","KeyConditionExpression":"p=:a","ExpressionAttributeValues":{":a":{"S":"a"}}"#;
    let scalars = |what: &str| {
        format!(
            "Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: {what}"
        )
    };
    let part = "One or more parameter values were invalid: Cannot update attribute p. This attribute is part of the key";
    let check = |operation: &str, body: String, message: &str| {
        let body = format!("{{{body}}}");
        let bytes = body.as_bytes();
        let result = match operation {
            "PutItem" => PutItem::parse(bytes).unwrap().check_schema(&schema),
            "GetItem" => GetItem::parse(bytes).unwrap().check_schema(&schema),
            "DeleteItem" => DeleteItem::parse(bytes).unwrap().check_schema(&schema),
            "UpdateItem" => UpdateItem::parse(bytes).unwrap().check_schema(&schema),
            "Query" => Query::parse(bytes).unwrap().plan(&schema).map(drop),
            _ => Scan::parse(bytes).unwrap().plan(&schema).map(drop),
        };
        assert_eq!(
            result.err().map(|error| error.message).unwrap_or_default(),
            message,
            "{operation} {body}"
        );
    };
    check("PutItem", format!(r#"{item},"ConditionExpression":"p.a = p""#), &scalars("Key: p"));
    check("DeleteItem", format!(r#"{key},"ConditionExpression":"l[0] = p""#), &scalars("IndexKey: l"));
    check("GetItem", format!(r#"{key},"ProjectionExpression":"p.a""#), &scalars("Key: p"));
    check("GetItem", format!(r#"{key},"ProjectionExpression":"q.a, p""#), "");
    check("UpdateItem", format!(r#"{key},"UpdateExpression":"SET q = p.a""#), &scalars("Key: p"));
    check("UpdateItem", format!(r#"{key},"UpdateExpression":"REMOVE l[0]""#), &scalars("IndexKey: l"));
    check("UpdateItem", format!(r#"{key},"UpdateExpression":"REMOVE p.q""#), part);
    check(
        "UpdateItem",
        format!(r#"{key},"UpdateExpression":"SET p = s","ConditionExpression":"s.a = p""#),
        &scalars("Key: s"),
    );
    check("Query", format!(r#"{query},"ProjectionExpression":"l.a""#), &scalars("IndexKey: l"));
    check(
        "Query",
        format!(r#"{query},"FilterExpression":"y = :a""#),
        "One or more parameter values were invalid: Secondary index byl does not project one or more filter attributes: [y]",
    );
    check("Query", format!(r#"{query},"ProjectionExpression":"y""#), "");
    check("Scan", r#""TableName":"abc","ProjectionExpression":"l.a""#.into(), &scalars("IndexKey: l"));
}

#[test]
fn a_batch_may_name_a_table_by_name_and_by_arn() {
    let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/Things";
    let write = |key: &str| format!(r#"{{"DeleteRequest":{{"Key":{{"p":{{"S":"{key}"}}}}}}}}"#);
    let body = format!(r#"{{"RequestItems":{{"Things":[{}],"{arn}":[{}]}}}}"#, write("a"), write("b"));
    let batch = BatchWriteItem::parse(body.as_bytes()).unwrap();
    assert_eq!(batch.tables["Things"].writes.len(), 2);
    let keys = r#"{"Keys":[{"p":{"S":"a"}}]}"#;
    let body = format!(r#"{{"RequestItems":{{"Things":{keys},"{arn}":{keys}}}}}"#);
    let error = BatchGetItem::parse(body.as_bytes()).unwrap_err();
    assert_eq!(
        error.message,
        "One or more parameter values were invalid: RequestItems names the same table twice"
    );
}

#[test]
fn a_ceiling_of_requests_is_for_tables_on_demand() {
    let table = |mode: &str| {
        format!(
            r#""TableName":"Things","BillingMode":{mode},"OnDemandThroughput":{{"MaxReadRequestUnits":5}},"AttributeDefinitions":[{{"AttributeName":"p","AttributeType":"S"}}],"KeySchema":[{{"AttributeName":"p","KeyType":"HASH"}}]"#
        )
    };
    let provisioned =
        r#""PROVISIONED","ProvisionedThroughput":{"ReadCapacityUnits":1,"WriteCapacityUnits":1}"#;
    check(
        "CreateTable",
        &[
            (table("\"PAY_PER_REQUEST\"").as_str(), ""),
            (
                table(provisioned).as_str(),
                "One or more parameter values were invalid: OnDemandThroughput cannot be specified when BillingMode is PROVISIONED",
            ),
        ],
    );
    let repeated = r#""TableName":"Things","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"p","AttributeType":"S"},{"AttributeName":"r","AttributeType":"S"}],"KeySchema":[{"AttributeName":"p","KeyType":"HASH"},{"AttributeName":"r","KeyType":"RANGE"}],"LocalSecondaryIndexes":[{"IndexName":"all","KeySchema":[{"AttributeName":"p","KeyType":"HASH"},{"AttributeName":"r","KeyType":"RANGE"}],"Projection":{"ProjectionType":"INCLUDE","NonKeyAttributes":["a","a"]}}]"#;
    check("CreateTable", &[(repeated, "Cannot have two attributes with the same name")]);
}

#[test]
fn update_indexes() {
    let create = r#"{"TableName":"abc","AttributeDefinitions":[{"AttributeName":"p","AttributeType":"S"},{"AttributeName":"g","AttributeType":"S"}],
        "KeySchema":[{"AttributeName":"p","KeyType":"HASH"}],"ProvisionedThroughput":{"ReadCapacityUnits":5,"WriteCapacityUnits":5},
        "GlobalSecondaryIndexes":[{"IndexName":"old","KeySchema":[{"AttributeName":"g","KeyType":"HASH"}],
            "Projection":{"ProjectionType":"INCLUDE","NonKeyAttributes":["x"]},
            "ProvisionedThroughput":{"ReadCapacityUnits":1,"WriteCapacityUnits":1}}]}"#;
    let schema = CreateTable::parse(create.as_bytes()).unwrap().schema;
    let definitions = |names: &[(&str, &str)]| {
        let one = |(n, t): &(&str, &str)| format!(r#"{{"AttributeName":"{n}","AttributeType":"{t}"}}"#);
        format!(r#""AttributeDefinitions":[{}]"#, names.iter().map(one).collect::<Vec<_>>().join(","))
    };
    let tp = r#""ProvisionedThroughput":{"ReadCapacityUnits":1,"WriteCapacityUnits":1}"#;
    let create = |name: &str, keys: &str, more: &str| {
        let keys: Vec<String> = keys
            .split(' ')
            .map(|key| key.split_once(':').unwrap())
            .map(|(name, role)| format!(r#"{{"AttributeName":"{name}","KeyType":"{role}"}}"#))
            .collect();
        format!(
            r#"{{"Create":{{"IndexName":"{name}","KeySchema":[{}],"Projection":{{"ProjectionType":"ALL"}}{more}}}}}"#,
            keys.join(",")
        )
    };
    let delete = |name: &str| format!(r#"{{"Delete":{{"IndexName":"{name}"}}}}"#);
    let update = |name: &str, more: &str| format!(r#"{{"Update":{{"IndexName":"{name}"{more}}}}}"#);
    let with_tp = format!(",{tp}");
    let invalid = |text: &str| format!("One or more parameter values were invalid: {text}");
    let h = definitions(&[("h", "S")]);
    let limit =
        "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table";
    for (with, updates, code, message) in [
        (&h, vec![create("new", "h:HASH", &with_tp)], "", String::new()),
        (&definitions(&[("h", "S"), ("p", "S")]), vec![create("new", "h:HASH p:RANGE", &with_tp)], "", String::new()),
        // API reference, UpdateTable, AttributeDefinitions: they must include the keys of the new index, known or not.
        (
            &h,
            vec![create("new", "h:HASH p:RANGE", &with_tp)],
            "Validation",
            invalid("Some index key attributes are not defined in AttributeDefinitions. Keys: [h, p], AttributeDefinitions: [h]"),
        ),
        (
            &r#""AttributeDefinitions":null"#.to_string(),
            vec![create("new", "g:HASH", &with_tp)],
            "Validation",
            invalid("Some index key attributes are not defined in AttributeDefinitions. Keys: [g], AttributeDefinitions: []"),
        ),
        (
            &definitions(&[("h", "S"), ("h", "S")]),
            vec![create("new", "h:HASH", &with_tp)],
            "Validation",
            "Cannot have two attributes with the same name".into(),
        ),
        (
            &definitions(&[("h", "S"), ("i", "N"), ("j", "B"), ("p", "S")]),
            vec![create("new", "h:HASH i:HASH j:RANGE p:RANGE", &with_tp)],
            "",
            String::new(),
        ),
        (&h, vec![create("new", "h:HASH", "")], "Validation", invalid("ProvisionedThroughput is not specified for index: new")),
        (
            &definitions(&[("z", "S")]),
            vec![create("new", "h:HASH", &with_tp)],
            "Validation",
            invalid("Some index key attributes are not defined in AttributeDefinitions. Keys: [h], AttributeDefinitions: [z]"),
        ),
        (
            &definitions(&[("h", "S"), ("z", "S")]),
            vec![create("new", "h:HASH", &with_tp)],
            "Validation",
            invalid("Some AttributeDefinitions are not used. AttributeDefinitions: [p, g, h, z], keys used: [g, h, p]"),
        ),
        (&h, vec![create("old", "h:HASH", &with_tp)], "Validation", "Attempting to create an index which already exists".into()),
        (&h, vec![create("new", "h:HASH", &with_tp), delete("old")], "LimitExceeded", limit.into()),
        (
            &h,
            vec![create("new", "h:HASH", &with_tp), delete("new")],
            "Validation",
            invalid("Only one global secondary index update per index is allowed simultaneously. Index: new"),
        ),
        (&h, vec![delete("nope")], "ResourceNotFound", "Requested resource not found".into()),
        (&h, vec![delete("old")], "", String::new()),
        (&h, vec![update("nope", &with_tp)], "ResourceNotFound", "Requested resource not found".into()),
        (
            &h,
            vec![update("old", &with_tp)],
            "Validation",
            "The provisioned throughput for the index old will not change. The requested value equals the current value. Current ReadCapacityUnits provisioned for the index: 1. Requested ReadCapacityUnits: 1. Current WriteCapacityUnits provisioned for the index: 1. Requested WriteCapacityUnits: 1. Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits.".into(),
        ),
        (&h, vec![update("old", &with_tp.replace(":1", ":2")), create("new", "h:HASH", &with_tp)], "", String::new()),
    ] {
        let body = format!(
            r#"{{"TableName":"abc",{with},"GlobalSecondaryIndexUpdates":[{}]}}"#,
            updates.join(",")
        );
        let result = UpdateTable::parse(body.as_bytes()).and_then(|update| update.apply(&schema, 1));
        match result {
            Ok((new, step)) => {
                assert_eq!(message, "", "{body}");
                let name = |name: &str| name.to_string();
                let deletes = updates[0] == delete("old");
                let expected = if deletes { IndexStep::Delete(name("old")) } else { IndexStep::Create(name("new")) };
                assert_eq!(step, Some(expected), "{body}");
                assert_eq!(new.global_indexes.len(), if deletes { 1 } else { 2 });
            }
            Err(error) => {
                assert_eq!(error.message, message, "{body}");
                assert_eq!(format!("{:?}", error.code), code, "{body}");
            }
        }
    }
}

#[test]
fn indexes_on_their_way_hold_others_up() {
    let create = r#"{"TableName":"abc","AttributeDefinitions":[{"AttributeName":"p","AttributeType":"S"}],
        "KeySchema":[{"AttributeName":"p","KeyType":"HASH"}],"BillingMode":"PAY_PER_REQUEST",
        "GlobalSecondaryIndexes":[{"IndexName":"one","KeySchema":[{"AttributeName":"p","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"}}]}"#;
    let mut schema = CreateTable::parse(create.as_bytes()).unwrap().schema;
    let delete = r#""GlobalSecondaryIndexUpdates":[{"Delete":{"IndexName":"one"}}]"#;
    let new = r#""AttributeDefinitions":[{"AttributeName":"p","AttributeType":"S"}],"GlobalSecondaryIndexUpdates":[{"Create":{"IndexName":"two","KeySchema":[{"AttributeName":"p","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"}}}]"#;
    let other = r#""TableClass":"STANDARD""#;
    let busy = "Attempt to change a resource which is still in use: ";
    let limit =
        "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table";
    for (state, expected) in [
        (IndexState::Active, ["", "", ""].map(String::from)),
        (
            IndexState::Creating,
            [
                format!("{busy}Index is being created: one"),
                limit.into(),
                format!("{busy}Table is being updated: abc"),
            ],
        ),
        (IndexState::Backfilling, [String::new(), limit.into(), String::new()]),
        (
            IndexState::Deleting,
            [
                format!("{busy}Index is being deleted: one"),
                limit.into(),
                format!("{busy}Table is being updated: abc"),
            ],
        ),
    ] {
        schema.global_indexes[0].state = state;
        for (step, message) in [delete, new, other].iter().zip(expected) {
            let update = UpdateTable::parse(format!(r#"{{"TableName":"abc",{step}}}"#).as_bytes()).unwrap();
            let refused = update.apply(&schema, 1).err().map(|error| error.message).unwrap_or_default();
            assert_eq!(refused, message, "{state:?} {step}");
        }
    }
}

#[test]
fn a_key_may_fit_the_table_and_not_its_index() {
    let create = r#"{"TableName":"abc","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"p","AttributeType":"S"},{"AttributeName":"g","AttributeType":"N"}],
        "KeySchema":[{"AttributeName":"p","KeyType":"HASH"}],
        "GlobalSecondaryIndexes":[{"IndexName":"turned","KeySchema":[{"AttributeName":"g","KeyType":"HASH"},{"AttributeName":"p","KeyType":"RANGE"}],"Projection":{"ProjectionType":"ALL"}}]}"#;
    let schema = CreateTable::parse(create.as_bytes()).unwrap().schema;
    let refused = "One or more parameter values were invalid: Size limit exceeded for Index Key p Actual Size: 1025 bytes Max Size: 1024 bytes IndexName: turned";
    for (length, message) in [(1024, ""), (1025, refused)] {
        let attribute = format!(r#"{{"p":{{"S":"{}"}}}}"#, "k".repeat(length));
        let put = PutItem::parse(format!(r#"{{"TableName":"abc","Item":{attribute}}}"#).as_bytes()).unwrap();
        let key = format!(r#"{{"TableName":"abc","Key":{attribute}}}"#);
        assert_eq!(put.check_schema(&schema).err().map(|error| error.message).unwrap_or_default(), message);
        // There may be such an item since before the index was. Whether an update makes a new one is known
        // where it is carried out.
        UpdateItem::parse(key.as_bytes()).unwrap().check_schema(&schema).unwrap();
        GetItem::parse(key.as_bytes()).unwrap().check_schema(&schema).unwrap();
        DeleteItem::parse(key.as_bytes()).unwrap().check_schema(&schema).unwrap();
    }
}

#[test]
fn arguments_of_old_conditions_come_before_the_schema() {
    let schema = music();
    let body = r#"{"TableName":"music","IndexName":"none","KeyConditions":{"Artist":{"ComparisonOperator":"BEGINS_WITH","AttributeValueList":[{"N":"1"}]}}}"#;
    let error = Query::parse(body.as_bytes()).and_then(|query| query.plan(&schema).map(drop)).unwrap_err();
    assert_eq!(
        error.message,
        "One or more parameter values were invalid: ComparisonOperator BEGINS_WITH is not valid for N AttributeValue type"
    );
}
