//! One change, as the change log stores it. Drawn in docs/formats/change-log.md.
//!
//! ```text
//! 0   u8      version (1)
//! 1   u8      kind (1 write, 2 backfill of an index)
//! 2   u8      flags (1 there is an image before, 2 there is one after)
//! 3   u64 LE  wall clock of the coordinator, milliseconds since the Unix epoch
//! 11  u64 LE  the index that is backfilled, 0 for a write
//! 19  u32 LE  length of the item's key, then token and primary key
//!     u32 LE  length of the image before, then the record; if flagged
//!     u32 LE  length of the image after, then the record; if flagged
//! ```

use bytes::Bytes;

/// Version of the layout.
pub const RECORD_VERSION: u8 = 1;
const HEADER: usize = 19;
const WRITE: u8 = 1;
const BACKFILL: u8 = 2;
const HAS_OLD: u8 = 1;
const HAS_NEW: u8 = 2;

/// Why there is a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// An item was written.
    Write,
    /// Nothing changed. The item existed before this index, and the record brings it to the index. The image
    /// holds what the index projects.
    Backfill(u64),
}

/// One change of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeRecord {
    /// Why it is here.
    pub kind: ChangeKind,
    /// Wall clock of the coordinator, milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// The item's storage key without space and table: token, partition key, sort key.
    pub key: Bytes,
    /// The item's record before, if it was there.
    pub old: Option<Bytes>,
    /// The item's record after, if it is there.
    pub new: Option<Bytes>,
}

impl ChangeRecord {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let images = self.old.iter().chain(&self.new).map(|image| image.len() + 4).sum::<usize>();
        let mut out = Vec::with_capacity(HEADER + 4 + self.key.len() + images);
        let (kind, index) = match self.kind {
            ChangeKind::Write => (WRITE, 0),
            ChangeKind::Backfill(index) => (BACKFILL, index),
        };
        let flags =
            if self.old.is_some() { HAS_OLD } else { 0 } | if self.new.is_some() { HAS_NEW } else { 0 };
        out.extend_from_slice(&[RECORD_VERSION, kind, flags]);
        out.extend_from_slice(&self.timestamp_ms.to_le_bytes());
        out.extend_from_slice(&index.to_le_bytes());
        for part in std::iter::once(&self.key).chain(&self.old).chain(&self.new) {
            // Keys and items are far below 4 GiB.
            out.extend_from_slice(&(part.len() as u32).to_le_bytes());
            out.extend_from_slice(part);
        }
        out
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// The bytes are no record, or one of a later version.
    pub fn decode(bytes: &Bytes) -> Result<Self, String> {
        let damaged = || "a change record is damaged".to_string();
        if bytes.first().is_some_and(|version| *version != RECORD_VERSION) {
            return Err("a change record is of a later version".into());
        }
        let &[_, kind, flags, ..] = bytes.get(..HEADER).ok_or_else(damaged)? else { return Err(damaged()) };
        let number =
            |at: usize| bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
        let (timestamp_ms, index) = (number(3).ok_or_else(damaged)?, number(11).ok_or_else(damaged)?);
        let kind = match (kind, index) {
            (WRITE, 0) => ChangeKind::Write,
            (BACKFILL, index) => ChangeKind::Backfill(index),
            _ => return Err(damaged()),
        };
        if flags & !(HAS_OLD | HAS_NEW) != 0 {
            return Err(damaged());
        }
        let mut rest = bytes.slice(HEADER..);
        let mut part = |present: bool| -> Result<Option<Bytes>, String> {
            if !present {
                return Ok(None);
            }
            let length = *rest.first_chunk::<4>().ok_or_else(damaged)?;
            let length = usize::try_from(u32::from_le_bytes(length)).map_err(|_| damaged())?;
            let end = length.checked_add(4).filter(|end| *end <= rest.len()).ok_or_else(damaged)?;
            let part = rest.slice(4..end);
            rest = rest.slice(end..);
            Ok(Some(part))
        };
        let key = part(true)?.ok_or_else(damaged)?;
        let (old, new) = (part(flags & HAS_OLD != 0)?, part(flags & HAS_NEW != 0)?);
        if !rest.is_empty() {
            return Err(damaged());
        }
        Ok(Self { kind, timestamp_ms, key, old, new })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_record() -> impl Strategy<Value = ChangeRecord> {
        let image =
            || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from));
        let kind = prop_oneof![Just(ChangeKind::Write), any::<u64>().prop_map(ChangeKind::Backfill)];
        let key = proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
        (kind, any::<u64>(), key, image(), image()).prop_map(|(kind, timestamp_ms, key, old, new)| {
            ChangeRecord { kind, timestamp_ms, key, old, new }
        })
    }

    proptest! {
        #[test]
        fn records_survive_their_encoding(record in any_record()) {
            let bytes = Bytes::from(record.encode());
            prop_assert_eq!(ChangeRecord::decode(&bytes), Ok(record));
            for length in 0..bytes.len() {
                prop_assert!(ChangeRecord::decode(&bytes.slice(..length)).is_err(), "{} bytes", length);
            }
            let mut longer = bytes.to_vec();
            longer.push(0);
            prop_assert!(ChangeRecord::decode(&longer.into()).is_err());
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = ChangeRecord::decode(&bytes.into());
        }
    }
}
