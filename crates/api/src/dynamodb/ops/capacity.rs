//! `ConsumedCapacity`.

use super::field;
use std::fmt::Write as _;
use torc_model::json::write_string;
use torc_model::ops::ReturnConsumedCapacity;

/// What one table was charged.
pub(super) fn write(
    kind: ReturnConsumedCapacity,
    table: &str,
    units: f64,
    out: &mut Vec<u8>,
) {
    if kind != ReturnConsumedCapacity::None {
        field("ConsumedCapacity", out);
        write_one(kind, table, units, out);
    }
}

/// What several tables were charged.
pub(super) fn write_list<'a>(
    kind: ReturnConsumedCapacity,
    tables: impl Iterator<Item = (&'a str, f64)>,
    out: &mut Vec<u8>,
) {
    if kind == ReturnConsumedCapacity::None {
        return;
    }
    field("ConsumedCapacity", out);
    out.push(b'[');
    for (index, (table, units)) in tables.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_one(kind, table, units, out);
    }
    out.push(b']');
}

fn write_one(kind: ReturnConsumedCapacity, table: &str, units: f64, out: &mut Vec<u8>) {
    out.push(b'{');
    field("TableName", out);
    write_string(table, out);
    field("CapacityUnits", out);
    number(units, out);
    if kind == ReturnConsumedCapacity::Indexes {
        field("Table", out);
        out.push(b'{');
        field("CapacityUnits", out);
        number(units, out);
        out.push(b'}');
    }
    out.push(b'}');
}

fn number(units: f64, out: &mut Vec<u8>) {
    let mut text = String::new();
    // Writing to a string can't fail. Units are multiples of one half.
    let _ = write!(text, "{units:.1}");
    out.extend_from_slice(text.as_bytes());
}
