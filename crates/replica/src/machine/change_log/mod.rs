//! The change log of a table partition: one record for each write, stored in the batch of the write itself,
//! in the order of the partition's consensus log. Layout: docs/formats/change-log.md; protocol:
//! docs/protocols/indexes.md.
//!
//! The table's machine writes records as long as the partition has a consumer. Today the consumers are the
//! propagators of global secondary indexes. The list of consumers is part of the partition's own state, so
//! every leader knows it, whatever topology that leader has. Records are trimmed when all consumers have
//! passed them.
//!
//! * [`record`]: one change. [`consumer`]: who reads, and how far. [`state`]: what the machine knows of both
//!   while it leads.

pub mod consumer;
pub mod record;
mod state;

pub use consumer::{Backfill, Consumer};
pub use record::{ChangeKind, ChangeRecord};
pub(super) use state::ChangeLog;

use torc_cluster::{GroupId, Partition};
use torc_engine::Engine;
use torc_model::key::{prefix_successor, space, token_prefix};

/// Bits of a [`Position`] for the writes of one log entry.
const SEQUENCE_BITS: u32 = 20;

/// The place of a write among all writes of its partition: index of the log entry, and number within the entry. It rises with every write,
/// also across leaders and across the deletion of an item. Also the version of the item that the write left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// Write number `sequence` of the entry; `None` if an entry can't have so many.
    pub fn new(index: u64, sequence: u64) -> Option<Self> {
        let fits = sequence >> SEQUENCE_BITS == 0 && index.leading_zeros() >= SEQUENCE_BITS;
        fits.then_some(Self(index << SEQUENCE_BITS | sequence))
    }

    /// The least position above.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

const CHANGE: u8 = 1;
const CONSUMER: u8 = 2;
const WATERMARK: u8 = 3;

/// What the keys of one kind begin with, in the space of change records of a partition.
fn prefix(partition: &Partition, kind: u8) -> Vec<u8> {
    let mut key = token_prefix(space::STREAM, partition.table.0, partition.range.start).to_vec();
    key.push(kind);
    key.extend_from_slice(&partition.group.0.to_be_bytes());
    key
}

/// The key of a change.
pub fn change_key(partition: &Partition, position: Position) -> Vec<u8> {
    let mut key = prefix(partition, CHANGE);
    key.extend_from_slice(&position.0.to_be_bytes());
    key
}

/// The position in the key of a change.
pub fn change_position(key: &[u8]) -> Option<Position> {
    key.last_chunk().map(|bytes| Position(u64::from_be_bytes(*bytes)))
}

/// The first key behind all changes.
fn changes_end(partition: &Partition) -> Vec<u8> {
    // A prefix begins with its space, so it has a successor.
    prefix_successor(&prefix(partition, CHANGE)).unwrap_or_default()
}

/// The key of a consumer.
pub fn consumer_key(partition: &Partition, consumer: u64) -> Vec<u8> {
    let mut key = prefix(partition, CONSUMER);
    key.push(consumer::GLOBAL_INDEX);
    key.extend_from_slice(&consumer.to_be_bytes());
    key
}

fn consumers_range(partition: &Partition) -> (Vec<u8>, Vec<u8>) {
    let start = prefix(partition, CONSUMER);
    let end = prefix_successor(&start).unwrap_or_default();
    (start, end)
}

/// In a partition of an index: the key of the position up to which it has the changes of one partition of the table.
pub fn watermark_key(partition: &Partition, source: GroupId) -> Vec<u8> {
    let mut key = prefix(partition, WATERMARK);
    key.extend_from_slice(&source.0.to_be_bytes());
    key
}

/// The value of a watermark.
pub fn watermark(bytes: &[u8]) -> Option<Position> {
    bytes.try_into().ok().map(|bytes| Position(u64::from_be_bytes(bytes)))
}

/// A consumer as this replica has it, applied; `None` if it is not registered (here, yet).
///
/// # Errors
/// The engine failed, or the record is damaged.
pub fn read_consumer(
    engine: &Engine,
    partition: &Partition,
    consumer: u64,
) -> Result<Option<Consumer>, String> {
    let stored = engine.get(&consumer_key(partition, consumer)).map_err(|e| e.to_string())?;
    stored.map(|bytes| Consumer::decode(consumer, &bytes)).transpose()
}

/// All consumers as this replica has them.
///
/// # Errors
/// As [`read_consumer`].
pub fn read_consumers(engine: &Engine, partition: &Partition) -> Result<Vec<Consumer>, String> {
    let (start, end) = consumers_range(partition);
    let rows = engine.scan(&start, &end, false, None);
    rows.map(|row| row.map_err(|e| e.to_string()).and_then(|row| Consumer::of_row(&row.key, &row.value)))
        .collect()
}

/// Changes as this replica has them, applied, from just above `after`: at most `limit` records and about `bytes` of them. Also whether
/// there may be more behind them.
///
/// Records that were trimmed are missing; every consumer has passed them.
///
/// # Errors
/// The engine failed, or a record is damaged.
pub fn read_changes(
    engine: &Engine,
    partition: &Partition,
    after: Position,
    limit: usize,
    bytes: usize,
) -> Result<(Vec<(Position, ChangeRecord)>, bool), String> {
    let (start, end) = (change_key(partition, after.next()), changes_end(partition));
    let mut out = Vec::new();
    let mut read = 0;
    for row in engine.scan(&start, &end, false, None) {
        let row = row.map_err(|e| e.to_string())?;
        let position = change_position(&row.key).ok_or("the key of a change record is malformed")?;
        read += row.value.len();
        out.push((position, ChangeRecord::decode(&row.value)?));
        if out.len() >= limit || read >= bytes {
            return Ok((out, true));
        }
    }
    Ok((out, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_order_entries_and_writes() {
        let at = |index, sequence| Position::new(index, sequence).unwrap();
        assert!(at(6, 0) < at(6, 1) && at(6, (1 << 20) - 1) < at(7, 0));
        assert_eq!(at(6, (1 << 20) - 1).next(), at(7, 0));
        assert_eq!(Position::new(6, 1 << 20), None);
        assert_eq!(Position::new(1 << 44, 0), None);
    }
}
