//! Writes attribute values as DynamoDB's JSON, straight into a byte vector.

use super::scan::plain_prefix;
use crate::{AttributeValue, Item, Number};

/// Appends `text` as a JSON string, quotes included.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    write_string_bytes(text.as_bytes(), out);
}

/// As [`write_string`], for UTF-8 that was checked when it was stored.
pub(crate) fn write_string_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut rest = bytes;
    loop {
        let (clean, tail) = rest.split_at(plain_prefix(rest));
        out.extend_from_slice(clean);
        let Some((&special, after)) = tail.split_first() else { break };
        match special {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            control => {
                let hex = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.push(hex[usize::from(control >> 4)]);
                out.push(hex[usize::from(control & 15)]);
            }
        }
        rest = after;
    }
    out.push(b'"');
}

/// Appends `bytes` as a base-64 JSON string.
pub fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    use base64::{Engine, engine::general_purpose::STANDARD};
    out.push(b'"');
    let start = out.len();
    let length = bytes.len().div_ceil(3) * 4;
    out.resize(start + length, 0);
    // The slice has exactly the encoded length, so this cannot fail.
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
    out.push(b'"');
}

pub(crate) fn write_number(number: &Number, out: &mut Vec<u8>) {
    out.push(b'"');
    number.write_to(out);
    out.push(b'"');
}

/// Appends `[` … `]` around the members, with commas.
fn write_list<T>(members: &[T], out: &mut Vec<u8>, mut each: impl FnMut(&T, &mut Vec<u8>)) {
    out.push(b'[');
    for (index, member) in members.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        each(member, out);
    }
    out.push(b']');
}

/// Appends a value with its type descriptor: `{"S":"…"}`.
pub fn write_value(value: &AttributeValue, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(value.type_name().as_bytes());
    out.extend_from_slice(b"\":");
    match value {
        AttributeValue::S(text) => write_string(text, out),
        AttributeValue::N(number) => write_number(number, out),
        AttributeValue::B(bytes) => write_base64(bytes, out),
        AttributeValue::Bool(true) | AttributeValue::Null => out.extend_from_slice(b"true"),
        AttributeValue::Bool(false) => out.extend_from_slice(b"false"),
        AttributeValue::M(map) => write_item(map, out),
        AttributeValue::L(list) => write_list(list, out, write_value),
        AttributeValue::Ss(set) => write_list(set, out, |text, out| write_string(text, out)),
        AttributeValue::Ns(set) => write_list(set, out, write_number),
        AttributeValue::Bs(set) => write_list(set, out, |bytes, out| write_base64(bytes, out)),
    }
    out.push(b'}');
}

/// Appends a map of values: `{"name":{"S":"…"},…}`.
pub fn write_item(item: &Item, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (name, value)) in item.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(name, out);
        out.push(b':');
        write_value(value, out);
    }
    out.push(b'}');
}
