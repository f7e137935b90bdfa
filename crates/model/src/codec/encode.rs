//! Values and attributes to stored bytes.

use super::{put_blob, put_varint, tag};
use crate::{AttributeValue, Item};

/// Appends the stored form of a map of attributes: a count, then names in byte order, each with its value.
pub fn encode_item(item: &Item, out: &mut Vec<u8>) {
    put_varint(item.len() as u64, out);
    for (name, value) in item {
        put_blob(name.as_bytes(), out);
        encode_value(value, out);
    }
}

/// Appends the stored form of one value, type byte first.
pub fn encode_value(value: &AttributeValue, out: &mut Vec<u8>) {
    match value {
        AttributeValue::S(text) => {
            out.push(tag::STRING);
            put_blob(text.as_bytes(), out);
        }
        AttributeValue::N(number) => {
            out.push(tag::NUMBER);
            number.encode_compact(out);
        }
        AttributeValue::B(bytes) => {
            out.push(tag::BINARY);
            put_blob(bytes, out);
        }
        AttributeValue::Bool(false) => out.push(tag::FALSE),
        AttributeValue::Bool(true) => out.push(tag::TRUE),
        AttributeValue::Null => out.push(tag::NULL),
        AttributeValue::M(map) => {
            out.push(tag::MAP);
            encode_item(map, out);
        }
        AttributeValue::L(list) => {
            out.push(tag::LIST);
            put_varint(list.len() as u64, out);
            for value in list {
                encode_value(value, out);
            }
        }
        AttributeValue::Ss(set) => {
            out.push(tag::STRING_SET);
            put_varint(set.len() as u64, out);
            for text in set {
                put_blob(text.as_bytes(), out);
            }
        }
        AttributeValue::Ns(set) => {
            out.push(tag::NUMBER_SET);
            put_varint(set.len() as u64, out);
            for number in set {
                number.encode_compact(out);
            }
        }
        AttributeValue::Bs(set) => {
            out.push(tag::BINARY_SET);
            put_varint(set.len() as u64, out);
            for bytes in set {
                put_blob(bytes, out);
            }
        }
    }
}
