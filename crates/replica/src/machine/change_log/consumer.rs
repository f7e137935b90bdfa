//! A consumer: a reader of a partition's change log, as the partition stores it. Drawn in
//! docs/formats/change-log.md.
//!
//! ```text
//! 0   u8      version (1)
//! 1   u8      backfill (1 under way, 2 all of it is logged)
//! 2   u64 LE  checkpoint: the position up to which the consumer has passed everything
//! 10  u64 LE  backfill all logged: the position of its last record; else 0
//! 18  …       backfill under way: storage key of the last item looked at, empty before the first
//! ```

use super::Position;
use bytes::Bytes;

/// Version of the layout.
pub const CONSUMER_VERSION: u8 = 1;
/// The kind of consumer that a global secondary index is: the byte before its number in the key. Streams and
/// the others get their own.
pub(super) const GLOBAL_INDEX: u8 = 1;
const HEADER: usize = 18;
const UNDER_WAY: u8 = 1;
const LOGGED: u8 = 2;

/// How far the items that were there before the consumer have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backfill {
    /// Those up to this storage key are logged.
    UnderWay(Bytes),
    /// All are logged, the last of them at this position.
    Logged(Position),
}

/// A reader of the change log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// Number of the index.
    pub id: u64,
    /// The checkpoint: the consumer has processed everything up to here.
    pub checkpoint: Position,
    /// How far the backfill of earlier items has come.
    pub backfill: Backfill,
}

impl Consumer {
    /// Whether it knows every item that was there before it.
    pub fn is_filled(&self) -> bool {
        matches!(self.backfill, Backfill::Logged(last) if last <= self.checkpoint)
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let (state, last, cursor) = match &self.backfill {
            Backfill::UnderWay(cursor) => (UNDER_WAY, Position(0), &cursor[..]),
            Backfill::Logged(last) => (LOGGED, *last, &[][..]),
        };
        let mut out = Vec::with_capacity(HEADER + cursor.len());
        out.extend_from_slice(&[CONSUMER_VERSION, state]);
        out.extend_from_slice(&self.checkpoint.0.to_le_bytes());
        out.extend_from_slice(&last.0.to_le_bytes());
        out.extend_from_slice(cursor);
        out
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// The bytes are no consumer, or one of a later version.
    pub fn decode(id: u64, bytes: &Bytes) -> Result<Self, String> {
        let damaged = || "the record of a consumer of the change log is damaged".to_string();
        let &[version, state, ..] = bytes.get(..HEADER).ok_or_else(damaged)? else { return Err(damaged()) };
        if version != CONSUMER_VERSION {
            return Err("the record of a consumer of the change log is of a later version".into());
        }
        let number =
            |at: usize| bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
        let (checkpoint, last) = (number(2).ok_or_else(damaged)?, number(10).ok_or_else(damaged)?);
        let cursor = bytes.slice(HEADER..);
        let backfill = match state {
            UNDER_WAY if last == 0 => Backfill::UnderWay(cursor),
            LOGGED if cursor.is_empty() => Backfill::Logged(Position(last)),
            _ => return Err(damaged()),
        };
        Ok(Self { id, checkpoint: Position(checkpoint), backfill })
    }

    /// Reads a row of the engine.
    pub(super) fn of_row(key: &[u8], value: &Bytes) -> Result<Self, String> {
        let id = key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        Self::decode(id.ok_or("the key of a consumer of the change log is malformed")?, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn consumers_survive_their_encoding(id: u64, checkpoint: u64, last: u64, cursor: Option<Vec<u8>>) {
            let backfill = match cursor {
                Some(cursor) => Backfill::UnderWay(cursor.into()),
                None => Backfill::Logged(Position(last)),
            };
            let consumer = Consumer { id, checkpoint: Position(checkpoint), backfill };
            let bytes = Bytes::from(consumer.encode());
            prop_assert_eq!(Consumer::decode(id, &bytes), Ok(consumer));
            for length in 0..HEADER {
                prop_assert!(Consumer::decode(id, &bytes.slice(..length)).is_err());
            }
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Consumer::decode(1, &bytes.into());
        }
    }

    #[test]
    fn a_consumer_is_filled_when_it_has_passed_the_last_backfilled_item() {
        let of = |checkpoint, backfill| Consumer { id: 1, checkpoint: Position(checkpoint), backfill };
        assert!(!of(9, Backfill::UnderWay(Bytes::new())).is_filled());
        assert!(!of(9, Backfill::Logged(Position(10))).is_filled());
        assert!(of(10, Backfill::Logged(Position(10))).is_filled());
    }
}
