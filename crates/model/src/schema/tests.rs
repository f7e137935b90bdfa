//! Names, stored form, and key checks.

use super::*;
use crate::json::{Reader, read_values};
use crate::{Item, key};

fn attribute(name: &str, kind: ScalarType) -> KeyAttribute {
    KeyAttribute { name: name.into(), kind }
}

fn schema() -> TableSchema {
    let key = |partition: &str, sort: Option<&str>| KeyDefinition {
        partition: vec![attribute(partition, ScalarType::S)],
        sort: sort.map(|name| attribute(name, ScalarType::N)).into_iter().collect(),
    };
    TableSchema {
        name: "Music".into(),
        attributes: vec![
            attribute("pk", ScalarType::S),
            attribute("sk", ScalarType::N),
            attribute("g", ScalarType::S),
        ],
        key: key("pk", Some("sk")),
        local_indexes: vec![LocalIndex {
            name: "local".into(),
            id: 7,
            key: key("pk", Some("n")),
            projection: Projection { kind: ProjectionType::KeysOnly, non_key_attributes: vec![] },
        }],
        global_indexes: vec![GlobalIndex {
            name: "global".into(),
            id: 0,
            state: IndexState::Active,
            times: SettingTimes::default(),
            key: key("g", None),
            projection: Projection { kind: ProjectionType::Include, non_key_attributes: vec!["x".into()] },
            throughput: Some(Throughput { read: 1, write: 2 }),
            on_demand: None,
            warm: None,
        }],
        billing: BillingMode::PayPerRequest,
        throughput: Throughput::default(),
        on_demand: Some(OnDemandThroughput { max_read: Some(10), max_write: None }),
        warm: Some(WarmThroughput { read: 12000, write: 4000 }),
        stream: Some(StreamViewType::NewAndOldImages),
        sse: Some(SseSpecification { kind: "KMS".into(), key_id: Some("k".into()) }),
        table_class: Some(TableClass::InfrequentAccess),
        tags: [("a".to_string(), "b".to_string())].into(),
        deletion_protection: true,
        ttl: Some(TimeToLive { attribute: "expires".into() }),
        resource_policy: Some("{}".into()),
        times: SettingTimes { stream: Some(5), ..SettingTimes::default() },
    }
}

fn item(json: &str) -> Item {
    read_values(&mut Reader::new(json.as_bytes())).unwrap().check().unwrap().clone()
}

#[test]
fn stored_form_round_trips_and_old_records_stay_readable() {
    let schema = schema();
    assert_eq!(TableSchema::from_json(&schema.to_json()).unwrap(), schema);
    let oldest = br#"{"name":"abc","attributes":[{"name":"a","kind":"S"}],"key":{"partition":[{"name":"a","kind":"S"}]}}"#;
    let read = TableSchema::from_json(oldest).unwrap();
    assert_eq!((read.billing, read.key.sort.len(), read.stream), (BillingMode::Provisioned, 0, None));
    assert!(TableSchema::from_json(b"{").is_err());
}

#[test]
fn names_and_arns() {
    for (name, valid) in [
        ("abc", true),
        ("a.b-c_D9", true),
        ("ab", false),
        ("a;b", false),
        ("a b", false),
        ("tablé", false),
        (&"x".repeat(255), true),
        (&"x".repeat(256), false),
        ("", false),
    ] {
        assert_eq!(is_valid_name(name), valid, "{name}");
    }
    for (text, reference) in [
        ("abc", TableReference::Name("abc")),
        ("arn:aws:dynamodb:us-east-1:123456789012:table/abc", TableReference::Arn("abc")),
        ("arn:aws:dynamodb:us-east-1:123456789012:table/abc/index/i", TableReference::BadArn),
        ("arn:aws:dynamodb:us-east-1:123456789012:stream/abc", TableReference::BadArn),
        ("arn:aws:s3:::table/abc", TableReference::BadArn),
        ("arn:abc", TableReference::BadArn),
    ] {
        assert_eq!(parse_table_reference(text), reference, "{text}");
    }
}

#[test]
fn item_keys() {
    let schema = schema();
    let long = |n: usize| "x".repeat(n);
    let cases: Vec<(String, &str)> = vec![
        (r#"{"pk":{"S":"a"},"sk":{"N":"1"},"n":{"N":"1"},"g":{"S":"x"},"other":{"L":[]}}"#.into(), ""),
        (
            r#"{"pk":{"S":"a"}}"#.into(),
            "One or more parameter values were invalid: Missing the key sk in the item",
        ),
        (
            r#"{"pk":{"S":"a"},"sk":{"S":"1"}}"#.into(),
            "One or more parameter values were invalid: Type mismatch for key sk expected: N actual: S",
        ),
        (
            r#"{"pk":{"NULL":true},"sk":{"N":"1"}}"#.into(),
            "One or more parameter values were invalid: Type mismatch for key pk expected: S actual: NULL",
        ),
        (
            r#"{"pk":{"S":""},"sk":{"N":"1"}}"#.into(),
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: pk",
        ),
        (format!(r#"{{"pk":{{"S":"{}"}},"sk":{{"N":"1"}}}}"#, long(2048)), ""),
        (
            format!(r#"{{"pk":{{"S":"{}"}},"sk":{{"N":"1"}}}}"#, long(2049)),
            "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes",
        ),
        (
            r#"{"pk":{"S":"a"},"sk":{"N":"1"},"n":{"S":"1"}}"#.into(),
            "One or more parameter values were invalid: Type mismatch for Index Key n Expected: N Actual: S IndexName: local",
        ),
        (
            r#"{"pk":{"S":"a"},"sk":{"N":"1"},"g":{"BOOL":true}}"#.into(),
            "One or more parameter values were invalid: Type mismatch for Index Key g Expected: S Actual: BOOL IndexName: global",
        ),
        (
            r#"{"pk":{"S":"a"},"sk":{"N":"1"},"g":{"S":""}}"#.into(),
            "One or more parameter values are not valid. A value specified for a secondary index key is not supported. The AttributeValue for a key attribute cannot contain an empty string value. IndexName: global, IndexKey: g",
        ),
        (
            format!(r#"{{"pk":{{"S":"a"}},"sk":{{"N":"1"}},"g":{{"S":"{}"}}}}"#, long(2049)),
            "One or more parameter values were invalid: Size limit exceeded for Index Key g Actual Size: 2049 bytes Max Size: 2048 bytes IndexName: global",
        ),
    ];
    for (json, message) in cases {
        let error = schema.check_item_keys(&item(&json)).err().map(|error| error.message).unwrap_or_default();
        assert_eq!(error, message, "{json}");
    }
}

#[test]
fn updated_index_keys() {
    let schema = schema();
    let before = item(r#"{"pk":{"S":"a"},"sk":{"N":"1"},"g":{"N":"1"}}"#);
    let long = format!(r#"{{"g":{{"S":"{}"}}}}"#, "x".repeat(2049));
    for (after, message) in [
        // Wrong before and not touched.
        (r#"{"g":{"N":"1"},"x":{"S":"y"}}"#, ""),
        (r#"{"n":{"N":"5"}}"#, ""),
        (
            r#"{"g":{"N":"2"}}"#,
            "The update expression attempted to update the secondary index key to unsupported type",
        ),
        (
            r#"{"g":{"S":""}}"#,
            "One or more parameter values are not valid. The update expression attempted to update a secondary index key to a value that is not supported. The AttributeValue for a key attribute cannot contain an empty string value.",
        ),
        (
            &long,
            "The update expression attempted to update the secondary index key beyond allowed size limits",
        ),
    ] {
        let result = schema.check_updated_index_keys(&before, &item(after), false);
        assert_eq!(result.err().map(|error| error.message).unwrap_or_default(), message, "{after}");
    }
    // Attribute updates are worded as an item that is put. No AWS document settles it.
    let legacy = schema.check_updated_index_keys(&before, &item(r#"{"g":{"N":"2"}}"#), true).unwrap_err();
    assert!(legacy.message.contains("Type mismatch for Index Key g Expected: S Actual: N"), "{legacy}");
}

#[test]
fn long_sort_keys() {
    let mut schema = schema();
    schema.key.sort[0].kind = ScalarType::S;
    let key = |length: usize| item(&format!(r#"{{"pk":{{"S":"a"}},"sk":{{"S":"{}"}}}}"#, "x".repeat(length)));
    assert!(schema.key.check_key(&key(1024)).is_ok());
    assert_eq!(
        schema.key.check_key(&key(1025)).unwrap_err().message,
        "One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size limit of 1024 bytes"
    );
}

#[test]
fn keys_alone() {
    let schema = schema();
    for (json, message) in [
        (r#"{"pk":{"S":"a"},"sk":{"N":"1"}}"#, ""),
        (r#"{"pk":{"S":"a"}}"#, "The provided key element does not match the schema"),
        (
            r#"{"pk":{"S":"a"},"sk":{"N":"1"},"x":{"N":"1"}}"#,
            "The provided key element does not match the schema",
        ),
        (r#"{"pk":{"S":"a"},"x":{"N":"1"}}"#, "The provided key element does not match the schema"),
        (r#"{"pk":{"S":"a"},"sk":{"S":"1"}}"#, "The provided key element does not match the schema"),
        (
            r#"{"pk":{"S":""},"sk":{"N":"1"}}"#,
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: pk",
        ),
    ] {
        let error = schema.key.check_key(&item(json)).err().map(|error| error.message).unwrap_or_default();
        assert_eq!(error, message, "{json}");
    }
}

#[test]
fn keys_are_encoded_in_order() {
    let schema = schema();
    let full = item(r#"{"pk":{"S":"a"},"sk":{"N":"1"},"x":{"S":"y"}}"#);
    let encoded = schema.key.encode(&full).unwrap();
    assert_eq!(encoded.partition, key::encode_elements([&full["pk"]]).unwrap());
    assert_eq!(encoded.sort, key::encode_elements([&full["sk"]]).unwrap());
    assert_eq!(schema.key.of_item(&full), item(r#"{"pk":{"S":"a"},"sk":{"N":"1"}}"#));
    assert!(schema.key.encode(&item(r#"{"pk":{"S":"a"}}"#)).is_err());
    let last = item(r#"{"pk":{"S":"a"},"sk":{"N":"1"},"g":{"S":"z"},"x":{"S":"y"}}"#);
    assert_eq!(
        schema.continuation_key(&last, schema.index("global")),
        item(r#"{"pk":{"S":"a"},"sk":{"N":"1"},"g":{"S":"z"}}"#)
    );
    let names = |index| {
        schema
            .continuation_attributes(schema.index(index))
            .into_iter()
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
    };
    assert_eq!(names("nope"), ["pk", "sk"]);
    assert_eq!(names("local"), ["pk", "sk", "n"]);
    assert_eq!(names("global"), ["pk", "sk", "g"]);
}

#[test]
fn a_partition_key_may_be_too_long_for_the_sort_key_of_an_index() {
    let mut schema = schema();
    schema.global_indexes[0].key.sort = schema.key.partition.clone();
    let put = |length: usize| {
        let item =
            item(&format!(r#"{{"pk":{{"S":"{}"}},"sk":{{"N":"1"}},"g":{{"S":"x"}}}}"#, "x".repeat(length)));
        schema.check_item_keys(&item).err().map(|error| error.message).unwrap_or_default()
    };
    assert_eq!(put(1024), "");
    assert_eq!(
        put(1025),
        "One or more parameter values were invalid: Size limit exceeded for Index Key pk Actual Size: 1025 bytes Max Size: 1024 bytes IndexName: global"
    );
}
