//! Behaviour in the small that users' tests and tools rely on. Beside each test stands the document that settles
//! it, or that none does.

use super::tests::{check, music, table};
use super::*;
use crate::ErrorCode;

/// Developer guide, Tagging restrictions in DynamoDB: letters, white space, numbers and `+ - = . _ : /`.
#[test]
fn characters_of_tags() {
    let arn = r#""ResourceArn":"arn:aws:dynamodb:us-east-1:000000000000:table/abc""#;
    let refused = "One or more parameter values were invalid: Tag keys and values may contain letters, white space, numbers and the characters + - = . _ : / @";
    for (key, value, message) in [
        ("Owner", "ops-team_1 +=.:/@", ""),
        ("Größe", "十 ３", ""),
        ("a", "", ""),
        ("a!", "b", refused),
        ("a", "b;c", refused),
        ("a", "\\n", refused),
        ("a", "😀", refused),
        ("a*", "b", refused),
    ] {
        check("TagResource", &[(&format!(r#"{arn},"Tags":[{{"Key":"{key}","Value":"{value}"}}]"#), message)]);
    }
}

/// Developer guide, Warm throughput: on-demand tables begin with 12 000 reads and 4 000 writes. No AWS document has the text.
#[test]
fn warm_throughput_has_a_least() {
    let create = |warm: &str| {
        table("a", "a", &format!(r#","BillingMode":"PAY_PER_REQUEST","WarmThroughput":{{{warm}}}"#))
    };
    let text = |name: &str, least: u32, is: i32| {
        format!(
            "One or more parameter values were invalid: WarmThroughput {name} must be at least {least}, but is {is}"
        )
    };
    for (warm, message) in [
        (r#""ReadUnitsPerSecond":12000,"WriteUnitsPerSecond":4000"#, String::new()),
        (r#""ReadUnitsPerSecond":50000"#, String::new()),
        (r#""ReadUnitsPerSecond":11999"#, text("ReadUnitsPerSecond", 12_000, 11_999)),
        (r#""WriteUnitsPerSecond":-1"#, text("WriteUnitsPerSecond", 4000, -1)),
    ] {
        check("CreateTable", &[(&create(warm), &message)]);
        check("UpdateTable", &[(&format!(r#""TableName":"abc","WarmThroughput":{{{warm}}}"#), &message)]);
    }
}

/// IAM user guide, Troubleshoot access denied error messages.
#[test]
fn the_resources_of_other_accounts_are_not_told_of() {
    let arn = |account: &str| format!("arn:aws:dynamodb:us-east-1:{account}:table/abc");
    let not_found =
        |account: &str| Resource::of(&arn(account)).unwrap().not_found("000000000000", "TagResource");
    assert_eq!(not_found("000000000000").code, ErrorCode::ResourceNotFound);
    let denied = not_found("111111111111");
    assert_eq!(denied.code, ErrorCode::AccessDenied);
    assert_eq!(
        denied.message,
        "User: arn:aws:iam::000000000000:root is not authorized to perform: dynamodb:TagResource on resource: arn:aws:dynamodb:us-east-1:111111111111:table/abc because no resource-based policy allows the dynamodb:TagResource action"
    );
}

/// DynamoDB Local's answer (the table is looked up before all but constraints); no AWS document settles the order.
#[test]
fn constraints_are_told_before_the_table_is_looked_up_and_the_rest_after() {
    let broken =
        r#"{"TableName":"abc","Item":{"a":{"S":"a"}},"ConditionExpression":"a b c","ReturnValues":"X"}"#;
    assert!(PutItem::read(broken.as_bytes()).is_err_and(|error| error.message.contains("'returnValues'")));
    let request = PutItem::read(broken.replace('X', "NONE").as_bytes()).unwrap();
    assert_eq!(request.table, "abc");
    assert!(request.judge().is_err_and(|error| error.message.starts_with("Invalid ConditionExpression")));
    let scan = r#"{"TableName":"abc","Segment":2,"TotalSegments":2,"FilterExpression":"a b"}"#;
    let fault = Scan::read(scan.as_bytes()).unwrap().judge().unwrap_err();
    assert!(fault.message.starts_with("The Segment parameter is zero-based"), "{fault}");
    let batch = r#"{"RequestItems":{"abc":{"Keys":[{"a":{"S":"a"}}],"ProjectionExpression":"a b"}}}"#;
    let batch = BatchGetItem::parse(batch.as_bytes()).unwrap();
    assert!(
        batch.tables["abc"].projection().is_err_and(|error| error.message.starts_with("Invalid Projection"))
    );
}

/// API reference, Query and Scan, ExclusiveStartKey: "The data type for ExclusiveStartKey must be String, Number, or
/// Binary. No set data types are allowed." No AWS document has the texts.
#[test]
fn start_keys_are_of_the_shape_of_the_key() {
    let only_hash = crate::schema::TableSchema {
        key: crate::schema::KeyDefinition { sort: Vec::new(), ..music().key },
        local_indexes: Vec::new(),
        global_indexes: Vec::new(),
        ..music()
    };
    let invalid = "The provided starting key is invalid";
    let schema_text = format!("{invalid}: The provided key element does not match the schema");
    let outside = "The provided starting key is outside query boundaries based on provided conditions";
    for (key, query, scan) in [
        (r#"{"pk":{"S":"a"}}"#, "", ""),
        (r#"{"pk":{"S":"z"}}"#, outside, ""),
        (r#"{"pk":{"N":"1"}}"#, invalid, &*schema_text),
        (r#"{"pk":{"SS":["a"]}}"#, invalid, &schema_text),
        (r#"{"pk":{"NULL":true}}"#, invalid, &schema_text),
        (r#"{"pk":{"S":"a"},"sk":{"N":"1"}}"#, invalid, &schema_text),
        (r#"{"x":{"S":"a"}}"#, invalid, &schema_text),
        ("{}", invalid, &schema_text),
    ] {
        let rest = r#""KeyConditionExpression":"pk = :a","ExpressionAttributeValues":{":a":{"S":"a"}}"#;
        let request = format!(r#"{{"TableName":"Music","ExclusiveStartKey":{key},{rest}}}"#);
        let request = Query::parse(request.as_bytes()).unwrap();
        let told = request.plan(&only_hash).err().map(|error| error.message).unwrap_or_default();
        assert_eq!(told, query, "{key}");
        let request = format!(r#"{{"TableName":"Music","ExclusiveStartKey":{key}}}"#);
        let request = Scan::parse(request.as_bytes()).unwrap();
        let told = request.plan(&only_hash).err().map(|error| error.message).unwrap_or_default();
        assert_eq!(told, scan, "{key}");
    }
}

/// The paths of batch requests, as AWS answered in aws/aws-sdk-js issue 1150 and boto/boto3 issue 483; API reference,
/// BatchGetItem: "Too many items requested for the BatchGetItem call."
#[test]
fn paths_of_batch_requests() {
    let many = |count: usize| {
        let keys: Vec<String> = (0..count).map(|n| format!(r#"{{"a":{{"S":"{n}"}}}}"#)).collect();
        format!("[{}]", keys.join(","))
    };
    check(
        "BatchGetItem",
        &[
            (
                r#""RequestItems":{"Auth":{"Keys":[]}}"#,
                "1 validation error detected: Value '[]' at 'requestItems.Auth.member.keys' failed to satisfy constraint: Member must have length greater than or equal to 1",
            ),
            (
                &format!(r#""RequestItems":{{"one":{{"Keys":{}}},"two":{{"Keys":{}}}}}"#, many(60), many(41)),
                "Too many items requested for the BatchGetItem call",
            ),
        ],
    );
    let writes = vec![r#"{"DeleteRequest":{"Key":{"a":{"S":"b"}}}}"#; 26].join(",");
    let request = format!(r#"{{"RequestItems":{{"abc":[{writes}]}}}}"#);
    let told = BatchWriteItem::parse(request.as_bytes()).unwrap_err().message;
    assert!(told.starts_with("1 validation error detected: Value '{abc=["), "{told}");
    let tail = "at 'requestItems' failed to satisfy constraint: Map value must satisfy constraint: [Member must have length less than or equal to 25, Member must have length greater than or equal to 1]";
    assert!(told.ends_with(tail), "{told}");
}

/// DynamoDB Local's answer; no AWS document settles it.
#[test]
fn attributes_are_defined_once() {
    let twice = |kind: &str| {
        format!(
            r#""TableName":"abc","KeySchema":[{{"AttributeName":"a","KeyType":"HASH"}}],"BillingMode":"PAY_PER_REQUEST",
            "AttributeDefinitions":[{{"AttributeName":"a","AttributeType":"S"}},{{"AttributeName":"a","AttributeType":"{kind}"}}]"#
        )
    };
    for kind in ["S", "N"] {
        check("CreateTable", &[(&twice(kind), "Cannot have two attributes with the same name")]);
    }
}
