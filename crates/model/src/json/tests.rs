//! The reader against tables of well-formed and ill-formed input.

use super::*;
use crate::{ApiError, AttributeValue, ErrorCode, Item};

fn read(json: &str) -> Result<Values, ApiError> {
    let mut reader = Reader::new(json.as_bytes());
    let values = read_values(&mut reader)?;
    reader.finish()?;
    Ok(values)
}

/// The error of a value in an item, by whichever stage finds it.
fn failure(value: &str) -> (ErrorCode, String) {
    let error = match read(&format!("{{\"v\":{value}}}")) {
        Ok(values) => values.check().expect_err(value).clone(),
        Err(error) => error,
    };
    (error.code, error.message)
}

#[test]
fn wrong_json_types() {
    for (value, message) in [
        (r#"{"S":1}"#, "NUMBER_VALUE cannot be converted to String"),
        (r#"{"S":1.5}"#, "DECIMAL_VALUE cannot be converted to String"),
        (r#"{"S":true}"#, "TRUE_VALUE cannot be converted to String"),
        (r#"{"S":false}"#, "FALSE_VALUE cannot be converted to String"),
        (r#"{"S":[]}"#, "Unrecognized collection type class java.lang.String"),
        (r#"{"S":{}}"#, "Start of structure or map found where not expected"),
        (r#"{"N":1}"#, "NUMBER_VALUE cannot be converted to String"),
        (r#"{"B":1}"#, "only base-64-encoded strings are convertible to bytes"),
        (r#"{"B":{}}"#, "Start of structure or map found where not expected"),
        (r#"{"B":[]}"#, "Unrecognized collection type class java.nio.ByteBuffer"),
        (r#"{"B":"23456"}"#, "Base64 encoded length is expected a multiple of 4 bytes but found: 5"),
        (r#"{"B":"=+/="}"#, "Invalid last non-pad Base64 character dectected"),
        (r#"{"B":"a*bc"}"#, "Invalid base64 character: '*'"),
        (r#"{"BOOL":"abc"}"#, "Unexpected token received from parser"),
        (r#"{"BOOL":1}"#, "NUMBER_VALUE cannot be converted to Boolean"),
        (r#"{"BOOL":[]}"#, "Unrecognized collection type class java.lang.Boolean"),
        (r#"{"NULL":1.5}"#, "DECIMAL_VALUE cannot be converted to Boolean"),
        (r#""a""#, "Unexpected value type in payload"),
        ("1", "Unexpected value type in payload"),
        ("true", "Unexpected value type in payload"),
        ("[]", "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.AttributeValue"),
        (r#"{"L":{}}"#, "Start of structure or map found where not expected"),
        (r#"{"L":"a"}"#, "Unexpected field type"),
        (r#"{"L":[1]}"#, "Unexpected value type in payload"),
        (
            r#"{"L":[[]]}"#,
            "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.AttributeValue",
        ),
        (r#"{"M":"a"}"#, "Unexpected field type"),
        (r#"{"M":{"a":1}}"#, "Unexpected value type in payload"),
        (
            r#"{"M":[]}"#,
            "Unrecognized collection type java.util.Map<java.lang.String, com.amazonaws.dynamodb.v20120810.AttributeValue>",
        ),
        (r#"{"SS":"a"}"#, "Unexpected field type"),
        (r#"{"SS":{}}"#, "Start of structure or map found where not expected"),
        (r#"{"SS":[1]}"#, "NUMBER_VALUE cannot be converted to String"),
        (r#"{"NS":[1]}"#, "NUMBER_VALUE cannot be converted to String"),
        (r#"{"BS":["a"]}"#, "Base64 encoded length is expected a multiple of 4 bytes but found: 1"),
    ] {
        assert_eq!(failure(value), (ErrorCode::Serialization, message.to_string()), "{value}");
    }
}

#[test]
fn invalid_values() {
    let empty = "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes";
    let several = "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes";
    let null =
        "One or more parameter values were invalid: Null attribute value types must have the value of true";
    for (value, message) in [
        ("{}", empty),
        ("null", empty),
        (r#"{"S":null}"#, empty),
        (r#"{"X":[{"y":1}]}"#, empty),
        (r#"{"L":[{}]}"#, empty),
        (r#"{"L":[null]}"#, "The supplied Item contains a null AttributeValue"),
        (r#"{"S":"a","N":"1"}"#, several),
        (r#"{"M":{"a":{"S":"a","BOOL":true}}}"#, several),
        (r#"{"NULL":false}"#, null),
        (r#"{"M":{"a":{"NULL":false}}}"#, null),
        (r#"{"N":""}"#, "The parameter cannot be converted to a numeric value"),
        (r#"{"N":"x","S":"b"}"#, "The parameter cannot be converted to a numeric value: x"),
        (r#"{"NS":["1","b"]}"#, "The parameter cannot be converted to a numeric value: b"),
        (
            r#"{"N":"1e126"}"#,
            "Number overflow. Attempting to store a number with magnitude larger than supported range",
        ),
        (
            r#"{"N":"1e-131"}"#,
            "Number underflow. Attempting to store a number with magnitude smaller than supported range",
        ),
        (
            r#"{"N":"123456789012345678901234567890123456789"}"#,
            "Attempting to store more than 38 significant digits in a Number",
        ),
        (r#"{"SS":[]}"#, "One or more parameter values were invalid: An string set  may not be empty"),
        (r#"{"NS":[]}"#, "One or more parameter values were invalid: An number set  may not be empty"),
        (r#"{"BS":[]}"#, "One or more parameter values were invalid: Binary sets should not be empty"),
        (
            r#"{"SS":["a","b","a"]}"#,
            "One or more parameter values were invalid: Input collection [a, b, a] contains duplicates.",
        ),
        (r#"{"NS":["1","1.0"]}"#, "Input collection contains duplicates"),
        (
            r#"{"BS":["YQ==","Yg==","YQ=="]}"#,
            "One or more parameter values were invalid: Input collection [YQ==, Yg==, YQ==]of type BS contains duplicates.",
        ),
    ] {
        assert_eq!(failure(value), (ErrorCode::Validation, message.to_string()), "{value}");
    }
}

#[test]
fn the_first_problem_is_told_with_its_attribute() {
    let values = read(r#"{":a":{"S":"ok"},":b":{"N":"x"},":c":{}}"#).unwrap();
    let error = values.into_checked("ExpressionAttributeValues").unwrap_err();
    assert_eq!(
        error.message,
        "ExpressionAttributeValues contains invalid value: The parameter cannot be converted to a numeric value: x for key :b"
    );
}

#[test]
fn accepted_values() {
    for (json, value) in [
        (r#"{"S":""}"#, AttributeValue::S(String::new())),
        (r#"{"S":"a","S":"b"}"#, AttributeValue::S("b".into())),
        (r#"{"N":"x","N":"1"}"#, AttributeValue::N(1i64.into())),
        (r#"{"L":[{"N":""}],"L":[]}"#, AttributeValue::L(Vec::new())),
        (r#"{"S":"a","Unknown":{"deep":[1,2,{}]}}"#, AttributeValue::S("a".into())),
        (r#"{"S":null,"N":"1"}"#, AttributeValue::N(1i64.into())),
        (r#"{"B":""}"#, AttributeValue::B(bytes::Bytes::new())),
        (r#"{"BOOL":"Yes"}"#, AttributeValue::Bool(true)),
        (r#"{"NULL":"true"}"#, AttributeValue::Null),
        (r#"{"SS":[""]}"#, AttributeValue::Ss(vec![String::new()])),
        (
            "{\"S\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\ud83d\\ude00\\u00e9é\"}",
            AttributeValue::S("\"\\/\u{8}\u{c}\n\r\tA\u{1f600}éé".into()),
        ),
        (r#"{"S":"\ud800x\udc00"}"#, AttributeValue::S("\u{fffd}x\u{fffd}".into())),
    ] {
        let text = format!(" {{ \"v\" :\t{json}\r\n}} ");
        assert_eq!(*read(&text).unwrap().check().unwrap(), Item::from([("v".to_string(), value)]), "{json}");
    }
}

#[test]
fn ill_formed_json() {
    for json in [
        "",
        " ",
        "{",
        "}",
        "{\"v\"}",
        "{\"v\":}",
        "{\"v\":{\"S\":\"a\"},}",
        "{\"v\":{\"S\":\"a\"}",
        "{\"v\":{\"S\":\"a\"}} x",
        "{v:1}",
        "{'v':1}",
        "{\"v\":{\"S\":\"a\nb\"}}",
        "{\"v\":{\"S\":\"\\x\"}}",
        "{\"v\":{\"S\":\"\\u12g4\"}}",
        "{\"v\":{\"S\":\"\\u12",
        "{\"v\":{\"S\":tru}}",
        "{\"v\":{\"S\":\"a",
        "{\"v\":{\"S\":01}}",
        "{\"v\":{\"S\":1.}}",
        "{\"v\":{\"S\":-}}",
        "{\"v\":{\"S\":1e}}",
        "{\"v\":{\"X\":[1,]}}",
        "{\"v\":{\"X\":[1 2]}}",
        "{\"v\":{\"X\":{\"a\":1,}}}",
        "{\"v\":{\"X\":[}}",
        "{\"v\":{\"X\":{]}}",
        "{\"v\":{\"X\":{\"a\"}}}",
        "{\"v\":{\"X\":[[1],[2]}}",
    ] {
        let error = read(json).expect_err(json);
        assert_eq!((error.code, error.message.as_str()), (ErrorCode::Serialization, ""), "{json}");
    }
    let error = read_values(&mut Reader::new(b"{\"v\":{\"S\":\"\xff\"}}")).unwrap_err();
    assert_eq!(error.code, ErrorCode::Serialization);
}

#[test]
fn nesting_is_bounded_without_recursion() {
    let nested = |levels: usize, leaf: &str| {
        let (mut open, mut close) = (String::new(), String::new());
        for level in 0..levels {
            open += if level % 2 == 0 { "{\"L\":[" } else { "{\"M\":{\"a\":" };
            close.insert_str(0, if level % 2 == 0 { "]}" } else { "}}" });
        }
        format!("{open}{leaf}{close}")
    };
    let scalar = "{\"S\":\"a\"}";
    let message = "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit";
    // The item is the first of 32 levels; a value that stands alone may have all of them.
    for (value, in_item, alone) in [
        (nested(31, scalar), true, true),
        (nested(30, "{\"M\":{}}"), true, true),
        (nested(31, "{\"M\":{}}"), false, true),
        (nested(32, scalar), false, true),
        (nested(33, scalar), false, false),
        (nested(100_000, scalar), false, false),
    ] {
        let text = format!("{{\":v\":{value}}}");
        let read = read_values(&mut Reader::new(text.as_bytes())).unwrap();
        assert_eq!(read.check().err().map(|e| e.message), (!in_item).then(|| message.to_string()));
        let read = read_expression_values(&mut Reader::new(text.as_bytes())).unwrap();
        assert_eq!(read.check().err().map(|e| e.message), (!alone).then(|| message.to_string()));
    }
    // Depth in what is passed over, and depth without an end.
    let mut reader = Reader::new(&[b'['; 1_000_000]);
    assert!(reader.skip().is_err());
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let mut reader = Reader::new(deep.as_bytes());
    assert!(reader.skip().and_then(|()| reader.finish()).is_ok());
    assert!(read(&"{\"v\":{\"L\":[".repeat(100_000)).is_err());
}

#[test]
fn scalars() {
    let integer = |json: &str, class: &str| Reader::new(json.as_bytes()).integer(class);
    for (json, class, value) in [
        ("12", "Integer", 12),
        ("1.9", "Integer", 1),
        ("-1.9", "Integer", -1),
        ("1e3", "Integer", 1000),
        ("99999999999", "Integer", i64::from(i32::MAX)),
        ("-99999999999", "Integer", i64::from(i32::MIN)),
        ("99999999999", "Long", 99_999_999_999),
        ("1e400", "Long", i64::MAX),
        ("-1e400", "Long", i64::MIN),
    ] {
        assert_eq!(integer(json, class), Ok(value), "{json}");
    }
    for (json, message) in [
        ("\"1\"", "STRING_VALUE cannot be converted to Integer"),
        ("true", "TRUE_VALUE cannot be converted to Integer"),
        ("[]", "Unrecognized collection type class java.lang.Integer"),
        ("{}", "Start of structure or map found where not expected"),
    ] {
        assert_eq!(integer(json, "Integer").unwrap_err().message, message, "{json}");
    }
}

#[test]
fn control_characters_are_escaped() {
    let mut out = Vec::new();
    write_string("a\u{1}\u{1f}\u{8}\u{c}\n\r\t\"\\\u{7f}é", &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), "\"a\\u0001\\u001f\\b\\f\\n\\r\\t\\\"\\\\\u{7f}é\"");
    let parsed: String = serde_json::from_slice(&{
        let mut out = Vec::new();
        write_string("\u{0}x\u{1f}", &mut out);
        out
    })
    .unwrap();
    assert_eq!(parsed, "\u{0}x\u{1f}");
}

#[test]
fn attribute_names_have_a_length() {
    let long = "x".repeat(65_536);
    for (value, message) in [
        (r#"{"M":{"":{"S":"a"}}}"#.to_string(), "Empty attribute name"),
        (r#"{"L":[{"M":{"":{"S":"a"}}}]}"#.to_string(), "Empty attribute name"),
        (
            format!(r#"{{"M":{{"{long}":{{"S":"a"}}}}}}"#),
            "Attribute name is too large, must be less than 65536 bytes",
        ),
    ] {
        assert_eq!(failure(&value), (ErrorCode::Validation, message.to_string()));
    }
    assert_eq!(read(r#"{"":{"S":"a"}}"#).unwrap().check().unwrap_err().message, "Empty attribute name");
    assert!(read(&format!(r#"{{"{}":{{"S":"a"}}}}"#, "x".repeat(65_535))).unwrap().check().is_ok());
    // The names of expression values are placeholders, which are checked as such.
    let values = read_expression_values(&mut Reader::new(br#"{"":{"S":"a"}}"#)).unwrap();
    assert!(values.problem.is_none());
}

#[test]
fn of_an_attribute_that_is_there_twice_the_last_counts() {
    let values = read(r#"{"a":{},"b":{"S":"b"},"a":{"S":"a"}}"#).unwrap();
    assert_eq!(values.check().unwrap()["a"], AttributeValue::S("a".into()));
    assert!(read(r#"{"a":{"S":"a"},"a":{}}"#).unwrap().check().is_err());
    assert!(read(r#"{"a":{},"b":{},"a":{"S":"a"}}"#).unwrap().check().is_err());
}

/// No AWS document settles the order ("The order of the values within a set isn't preserved": developer
/// guide, Sets). DynamoDB Local sorts: numbers by value, binary values by bytes, and strings by UTF-16 units
/// as they are put and by bytes after an update. Torc sorts them by bytes.
#[test]
fn sets_are_sorted_as_they_are_read() {
    for (json, sorted) in [
        (r#"{"SS":["b","é","Z","a","😀","\uffff",""]}"#, r#"{"SS":["","Z","a","b","é","\uffff","😀"]}"#),
        (r#"{"NS":["10","9","-1","1e3","0.5","-1.5"]}"#, r#"{"NS":["-1.5","-1","0.5","9","10","1000"]}"#),
        (r#"{"BS":["/w==","AA==","gA==","AAE="]}"#, r#"{"BS":["AA==","AAE=","gA==","/w=="]}"#),
        (r#"{"L":[{"SS":["b","a"]}]}"#, r#"{"L":[{"SS":["a","b"]}]}"#),
    ] {
        let values = read(&format!(r#"{{"v":{json}}}"#)).unwrap();
        let mut out = Vec::new();
        write_item(values.check().unwrap(), &mut out);
        let expected: serde_json::Value = serde_json::from_str(&format!(r#"{{"v":{sorted}}}"#)).unwrap();
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&out).unwrap(), expected, "{json}");
    }
}
