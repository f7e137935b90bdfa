//! Bodies of requests, as every operation of the model parses them.

use super::{Target, texts};
use torc_model::json::{Reader, read_values, write_item};
use torc_model::ops;
use torc_model::{ApiError, codec};

const WORDS: &[&str] = &[
    "{\"S\":\"",
    "{\"N\":\"1\"}",
    "{\"B\":\"AA==\"}",
    "{\"M\":{",
    "{\"L\":[",
    "{\"SS\":[\"a\"]}",
    "{\"NS\":[\"1\"]}",
    "{\"BS\":[\"AA==\"]}",
    "{\"BOOL\":true}",
    "{\"NULL\":true}",
    "null",
    "true",
    "false",
    "\\u0000",
    "\\ud83d\\ude00",
    "\\ud800",
    "\\\"",
    "1e999",
    "-0",
    "[[[[",
    "{\"\":",
    "\"ConditionExpression\":",
    "\"UpdateExpression\":",
    "\"ExpressionAttributeNames\":{",
    "\"ExpressionAttributeValues\":{",
    "\"Expected\":{",
    "\"AttributeUpdates\":{",
    "\"KeyConditions\":{",
    "\"ReturnValues\":\"ALL_OLD\"",
    "\"ExclusiveStartKey\":{",
    "\"Limit\":",
    "\"Select\":\"COUNT\"",
    "\"TableName\":\"abc\"",
    "\"AttributeValueList\":[",
    "\"ComparisonOperator\":\"EQ\"",
    ",",
    "}",
    "]",
    "\u{feff}",
    "\u{e9}",
];

pub const BODY: Target = Target { name: "json", seeds, dictionary: WORDS, run };

fn seeds() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"id":{"S":"a"},"n":{"N":"-1.5e3"},"b":{"B":"AAEC"},"l":{"L":[{"M":{"x":{"NULL":true}}},{"BOOL":false}]},"s":{"SS":["a","b"]},"t":{"NS":["1","2"]},"u":{"BS":["AA==","AQ=="]}}"#,
        r##"{"TableName":"abc","Item":{"id":{"S":"a"}},"ConditionExpression":"#n <> :v","ExpressionAttributeNames":{"#n":"x"},"ExpressionAttributeValues":{":v":{"N":"1"}},"ReturnValues":"ALL_OLD","ReturnConsumedCapacity":"TOTAL"}"##,
        r#"{"TableName":"abc","Item":{"id":{"S":"a"}},"Expected":{"x":{"ComparisonOperator":"BETWEEN","AttributeValueList":[{"N":"1"},{"N":"2"}]},"y":{"Exists":false}},"ConditionalOperator":"OR"}"#,
        r##"{"TableName":"abc","Key":{"id":{"S":"a"}},"ProjectionExpression":"a.b[1], #n","ExpressionAttributeNames":{"#n":"x"},"ConsistentRead":true}"##,
        r#"{"TableName":"abc","Key":{"id":{"S":"a"}},"AttributesToGet":["a","b"]}"#,
        r#"{"TableName":"abc","Key":{"id":{"S":"a"}},"UpdateExpression":"SET a = a + :v REMOVE b ADD c :v","ExpressionAttributeValues":{":v":{"N":"1"}},"ReturnValues":"UPDATED_NEW"}"#,
        r#"{"TableName":"abc","Key":{"id":{"S":"a"}},"AttributeUpdates":{"a":{"Action":"ADD","Value":{"N":"1"}},"b":{"Action":"DELETE"}}}"#,
        r#"{"TableName":"abc","IndexName":"idx","KeyConditionExpression":"id = :v AND s > :w","FilterExpression":"size(a) > :w","ExpressionAttributeValues":{":v":{"S":"a"},":w":{"N":"1"}},"Limit":10,"ScanIndexForward":false,"ExclusiveStartKey":{"id":{"S":"a"}},"Select":"COUNT"}"#,
        r#"{"TableName":"abc","KeyConditions":{"id":{"ComparisonOperator":"EQ","AttributeValueList":[{"S":"a"}]}},"QueryFilter":{"x":{"ComparisonOperator":"NOT_NULL"}}}"#,
        r#"{"TableName":"abc","Segment":1,"TotalSegments":4,"ScanFilter":{"x":{"ComparisonOperator":"IN","AttributeValueList":[{"N":"1"}]}}}"#,
        r#"{"RequestItems":{"abc":[{"PutRequest":{"Item":{"id":{"S":"a"}}}},{"DeleteRequest":{"Key":{"id":{"S":"b"}}}}]},"ReturnItemCollectionMetrics":"SIZE"}"#,
        r#"{"RequestItems":{"abc":{"Keys":[{"id":{"S":"a"}},{"id":{"S":"b"}}],"ProjectionExpression":"a","ConsistentRead":true}}}"#,
        r#"{"TableName":"abc","AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"},{"AttributeName":"r","AttributeType":"N"}],"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],"LocalSecondaryIndexes":[{"IndexName":"idx","KeySchema":[{"AttributeName":"id","KeyType":"HASH"},{"AttributeName":"r","KeyType":"RANGE"}],"Projection":{"ProjectionType":"INCLUDE","NonKeyAttributes":["x"]}}],"BillingMode":"PROVISIONED","ProvisionedThroughput":{"ReadCapacityUnits":1,"WriteCapacityUnits":1},"Tags":[{"Key":"k","Value":"v"}],"StreamSpecification":{"StreamEnabled":true,"StreamViewType":"NEW_IMAGE"}}"#,
        r#"{"TableName":"abc","GlobalSecondaryIndexUpdates":[{"Create":{"IndexName":"g","KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"}}}],"BillingMode":"PAY_PER_REQUEST","DeletionProtectionEnabled":true}"#,
        r#"{"ExclusiveStartTableName":"abc","Limit":3}"#,
        r#"{"ResourceArn":"arn:aws:dynamodb:us-east-1:000000000000:table/abc","Tags":[{"Key":"a","Value":"b"}],"TagKeys":["a"],"NextToken":"x"}"#,
        r#"{"TableName":"abc","TimeToLiveSpecification":{"Enabled":true,"AttributeName":"ttl"}}"#,
        r#"{"TransactItems":[{"Put":{"TableName":"abc","Item":{"id":{"S":"a"}}}}],"Statement":"SELECT * FROM abc"}"#,
    ])
}

/// Operations that Torc answers without having them; their bodies are checked all the same.
const OTHERS: &[&str] = &[
    "TransactWriteItems",
    "TransactGetItems",
    "ExecuteStatement",
    "BatchExecuteStatement",
    "CreateBackup",
    "DescribeLimits",
    "DescribeContinuousBackups",
    "UpdateContinuousBackups",
    "CreateGlobalTable",
    "ExportTableToPointInTime",
    "PutResourcePolicy",
];

fn run(input: &[u8]) {
    values(input);
    check(ops::PutItem::parse(input));
    check(ops::GetItem::parse(input));
    check(ops::UpdateItem::parse(input));
    check(ops::DeleteItem::parse(input));
    check(ops::Query::parse(input));
    check(ops::Scan::parse(input));
    check(ops::BatchWriteItem::parse(input));
    check(
        ops::BatchGetItem::parse(input)
            .and_then(|batch| batch.tables.values().try_for_each(|table| table.projection().map(drop))),
    );
    check(ops::CreateTable::parse(input));
    check(ops::UpdateTable::parse(input));
    check(ops::DescribeTable::parse(input));
    check(ops::DeleteTable::parse(input));
    check(ops::ListTables::parse(input));
    check(ops::TagResource::parse(input));
    check(ops::UntagResource::parse(input));
    check(ops::ListTagsOfResource::parse(input));
    check(ops::UpdateTimeToLive::parse(input));
    check(ops::DescribeTimeToLive::parse(input));
    for operation in OTHERS {
        if let Some(parsed) = ops::FeatureRequest::parse(operation, input) {
            check(parsed);
        }
    }
}

/// Whatever is refused is refused as the client's fault, in words that can be sent.
fn check<T>(parsed: Result<T, ApiError>) {
    if let Err(error) = parsed {
        assert!((400..500).contains(&error.code.status()), "{error}");
        let body = error.to_json();
        assert!(
            Reader::new(&body).skip().is_ok(),
            "the error itself is not JSON: {}",
            String::from_utf8_lossy(&body)
        );
    }
}

/// What is read as attribute values is written and stored so that it is read as the same again.
fn values(input: &[u8]) {
    let mut reader = Reader::new(input);
    let Ok(values) = read_values(&mut reader) else { return };
    if reader.finish().is_err() {
        return;
    }
    let Ok(item) = values.check() else { return };
    let mut json = Vec::new();
    write_item(item, &mut json);
    let mut reader = Reader::new(&json);
    let again = read_values(&mut reader)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&json)));
    assert!(reader.finish().is_ok());
    assert_eq!(again.check().map_err(|error| error.message), Ok(item), "{}", String::from_utf8_lossy(&json));
    let mut stored = Vec::new();
    codec::encode_item(item, &mut stored);
    assert_eq!(codec::decode_item(&stored).as_ref(), Ok(item));
}
