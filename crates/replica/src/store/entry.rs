//! The form of entries in the log and in append messages. Drawn in docs/formats/raft-log.md.
//!
//! ```text
//! 0   u8      version (1)
//! 1   u8      kind (0 empty, 1 normal, 2 membership change)
//! 2   u64 LE  term
//! 10  …       normal: u8 flags (0), then an encoded write batch; membership change: an encoded `ConfChange`; empty: nothing
//! ```
//!
//! The raft data of a normal entry is this whole payload. The leader builds it once; log, message and apply
//! share its bytes.

use bytes::Bytes;
use raft::eraftpb::{Entry, EntryType};
use torc_engine::WriteBatch;

/// Version of the layout.
pub const ENTRY_VERSION: u8 = 1;
/// Bytes before the content.
pub const HEADER: usize = 10;
const KIND: usize = 1;
const TERM: usize = 2;
const FLAGS: usize = 10;
const BATCH: usize = 11;

const EMPTY: u8 = 0;
const NORMAL: u8 = 1;
const CONF_CHANGE: u8 = 2;

/// An entry that this version can't read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unreadable log entry: {0}")]
pub struct BadEntry(pub &'static str);

/// The raft data of a normal entry in `term`.
pub(crate) fn normal(term: u64, batch: &WriteBatch) -> Bytes {
    let encoded = batch.encode();
    let mut payload = Vec::with_capacity(BATCH + encoded.len());
    payload.extend_from_slice(&[ENTRY_VERSION, NORMAL]);
    payload.extend_from_slice(&term.to_le_bytes());
    payload.push(0);
    payload.extend_from_slice(&encoded);
    payload.into()
}

/// The batch in a normal entry's data.
pub(crate) fn batch(data: &Bytes) -> Result<WriteBatch, BadEntry> {
    match data.get(FLAGS) {
        Some(0) => {}
        Some(_) => return Err(BadEntry("flags of a later version")),
        None => return Err(BadEntry("too short")),
    }
    WriteBatch::decode(data.slice(BATCH..)).map_err(|_| BadEntry("malformed batch"))
}

/// The log payload of an entry.
pub(crate) fn to_payload(entry: &Entry) -> Bytes {
    let kind = match entry.get_entry_type() {
        EntryType::EntryNormal if !entry.data.is_empty() => return entry.data.clone(),
        EntryType::EntryNormal => EMPTY,
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => CONF_CHANGE,
    };
    let mut payload = Vec::with_capacity(HEADER + entry.data.len());
    payload.extend_from_slice(&[ENTRY_VERSION, kind]);
    payload.extend_from_slice(&entry.term.to_le_bytes());
    payload.extend_from_slice(&entry.data);
    payload.into()
}

/// The entry of a log payload.
pub(crate) fn from_payload(index: u64, payload: Bytes) -> Result<Entry, BadEntry> {
    let (kind, term) = header(&payload)?;
    let mut entry = Entry { term, index, ..Default::default() };
    match kind {
        EMPTY if payload.len() == HEADER => {}
        NORMAL if payload.len() > BATCH => entry.data = payload,
        CONF_CHANGE => {
            entry.set_entry_type(EntryType::EntryConfChangeV2);
            entry.data = payload.slice(HEADER..);
        }
        _ => return Err(BadEntry("unknown kind or wrong size")),
    }
    Ok(entry)
}

/// Whether `data` can be the raft data of a normal entry in `term`: what a follower checks before it takes it
/// in.
pub(crate) fn is_normal(data: &Bytes, term: u64) -> bool {
    data.len() > BATCH && matches!(header(data), Ok((NORMAL, t)) if t == term) && data.get(FLAGS) == Some(&0)
}

fn header(payload: &[u8]) -> Result<(u8, u64), BadEntry> {
    if payload.first() != Some(&ENTRY_VERSION) {
        return Err(BadEntry("unknown version"));
    }
    let kind = *payload.get(KIND).ok_or(BadEntry("too short"))?;
    let term = payload.get(TERM..HEADER).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
    Ok((kind, term.ok_or(BadEntry("too short"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(entry: Entry) {
        let payload = to_payload(&entry);
        assert_eq!(from_payload(entry.index, payload.clone()).unwrap(), entry);
        for len in 0..HEADER {
            assert!(from_payload(entry.index, payload.slice(..len)).is_err(), "{len} bytes were accepted");
        }
        let mut other = payload.to_vec();
        other[0] = ENTRY_VERSION + 1;
        assert!(from_payload(entry.index, other.into()).is_err());
    }

    #[test]
    fn round_trips() {
        let mut write = WriteBatch::new();
        write.put(b"key", b"value");
        write.delete_range(b"a", b"b");
        check(Entry { index: 7, term: 3, ..Default::default() });
        let data = normal(9, &write);
        assert!(is_normal(&data, 9) && !is_normal(&data, 8) && !is_normal(&data.slice(..HEADER), 9));
        assert_eq!(batch(&data).unwrap(), write);
        check(Entry { index: u64::MAX, term: 9, data, ..Default::default() });
        let mut change =
            Entry { index: 8, term: 4, data: Bytes::from_static(b"\x08\x01"), ..Default::default() };
        change.set_entry_type(EntryType::EntryConfChangeV2);
        check(change);
    }
}
