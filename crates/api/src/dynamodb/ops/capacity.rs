//! `ConsumedCapacity`.

use super::field;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use torc_model::json::write_string;
use torc_model::ops::ReturnConsumedCapacity;

/// What one table and its indexes were charged, units.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Charge<'a> {
    /// The table itself.
    pub table: f64,
    /// Its local indexes, by name.
    pub local: BTreeMap<&'a str, f64>,
    /// Its global indexes, by name.
    pub global: BTreeMap<&'a str, f64>,
}

impl<'a> Charge<'a> {
    /// Units of the table alone.
    pub fn table(units: f64) -> Self {
        Self { table: units, ..Self::default() }
    }

    /// Units of reading a local index, and of fetching from the table what it does not hold.
    pub fn local(index: &'a str, units: f64, fetched: f64) -> Self {
        Self { table: fetched, local: BTreeMap::from([(index, units)]), ..Self::default() }
    }

    /// Units of reading a global index.
    pub fn global(index: &'a str, units: f64) -> Self {
        Self { global: BTreeMap::from([(index, units)]), ..Self::default() }
    }

    /// Adds another charge of the same table.
    pub fn add(&mut self, other: Charge<'a>) {
        self.table += other.table;
        for (index, units) in other.local {
            *self.local.entry(index).or_default() += units;
        }
        for (index, units) in other.global {
            *self.global.entry(index).or_default() += units;
        }
    }

    fn total(&self) -> f64 {
        self.table + self.local.values().chain(self.global.values()).sum::<f64>()
    }
}

/// What one table was charged.
pub(super) fn write(kind: ReturnConsumedCapacity, table: &str, charge: &Charge<'_>, out: &mut Vec<u8>) {
    if kind != ReturnConsumedCapacity::None {
        field("ConsumedCapacity", out);
        write_one(kind, table, charge, out);
    }
}

/// What several tables were charged.
pub(super) fn write_list<'a>(
    kind: ReturnConsumedCapacity,
    tables: impl Iterator<Item = (&'a str, Charge<'a>)>,
    out: &mut Vec<u8>,
) {
    if kind == ReturnConsumedCapacity::None {
        return;
    }
    field("ConsumedCapacity", out);
    out.push(b'[');
    for (index, (table, charge)) in tables.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_one(kind, table, &charge, out);
    }
    out.push(b']');
}

fn write_one(kind: ReturnConsumedCapacity, table: &str, charge: &Charge<'_>, out: &mut Vec<u8>) {
    out.push(b'{');
    field("TableName", out);
    write_string(table, out);
    field("CapacityUnits", out);
    number(charge.total(), out);
    if kind == ReturnConsumedCapacity::Indexes {
        field("Table", out);
        units(charge.table, out);
        indexes("LocalSecondaryIndexes", &charge.local, out);
        indexes("GlobalSecondaryIndexes", &charge.global, out);
    }
    out.push(b'}');
}

fn indexes(name: &str, charged: &BTreeMap<&str, f64>, out: &mut Vec<u8>) {
    if charged.is_empty() {
        return;
    }
    field(name, out);
    out.push(b'{');
    for (name, charged) in charged {
        if out.last() != Some(&b'{') {
            out.push(b',');
        }
        write_string(name, out);
        out.push(b':');
        units(*charged, out);
    }
    out.push(b'}');
}

fn units(charged: f64, out: &mut Vec<u8>) {
    out.push(b'{');
    field("CapacityUnits", out);
    number(charged, out);
    out.push(b'}');
}

fn number(units: f64, out: &mut Vec<u8>) {
    let mut text = String::new();
    // Writing to a string can't fail. Units are multiples of one half.
    let _ = write!(text, "{units:.1}");
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: ReturnConsumedCapacity, charge: &Charge<'_>, expected: &str) {
        let mut out = vec![b'{'];
        write(kind, "music", charge, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("{{{expected}"));
    }

    #[test]
    fn totals_and_parts() {
        let charge = Charge::local("byYear", 1.5, 2.0);
        check(ReturnConsumedCapacity::None, &charge, "");
        check(
            ReturnConsumedCapacity::Total,
            &charge,
            r#""ConsumedCapacity":{"TableName":"music","CapacityUnits":3.5}"#,
        );
        check(
            ReturnConsumedCapacity::Indexes,
            &charge,
            r#""ConsumedCapacity":{"TableName":"music","CapacityUnits":3.5,"Table":{"CapacityUnits":2.0},"LocalSecondaryIndexes":{"byYear":{"CapacityUnits":1.5}}}"#,
        );
        check(
            ReturnConsumedCapacity::Indexes,
            &Charge::global("byYear", 1.5),
            r#""ConsumedCapacity":{"TableName":"music","CapacityUnits":1.5,"Table":{"CapacityUnits":0.0},"GlobalSecondaryIndexes":{"byYear":{"CapacityUnits":1.5}}}"#,
        );
        check(
            ReturnConsumedCapacity::Indexes,
            &Charge::table(0.5),
            r#""ConsumedCapacity":{"TableName":"music","CapacityUnits":0.5,"Table":{"CapacityUnits":0.5}}"#,
        );
    }
}
