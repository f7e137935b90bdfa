//! Write batches: the unit of atomicity. One contiguous buffer serves as the builder, as the log's payload
//! and as the source that the memtable reads. Layout: docs/formats/batch.md.

use super::codec::{Reader, get_varint, put_bytes};
use crate::{Error, Result};
use bytes::Bytes;
use std::path::PathBuf;

/// Version of the encoding, its first byte.
pub const BATCH_VERSION: u8 = 1;
/// Version byte and operation count.
const HEADER: usize = 5;
const EMPTY: [u8; HEADER] = [BATCH_VERSION, 0, 0, 0, 0];

const OP_PUT: u8 = 1;
const OP_DELETE: u8 = 2;
const OP_DELETE_RANGE: u8 = 3;

/// One operation of a batch, borrowed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// Sets a key.
    Put {
        /// The key.
        key: &'a [u8],
        /// The value.
        value: &'a [u8],
    },
    /// Deletes a key.
    Delete {
        /// The key.
        key: &'a [u8],
    },
    /// Deletes every key in `start..end`.
    DeleteRange {
        /// First key deleted.
        start: &'a [u8],
        /// First key not deleted.
        end: &'a [u8],
    },
}

/// Writes applied together: after a crash all are there or none. Later entries win over earlier ones on the
/// same key. The encoded form is what the log and consensus entries carry; see docs/formats/batch.md.
#[derive(Clone, Debug, Default)]
pub struct WriteBatch {
    buf: Buf,
}

#[derive(Clone, Debug)]
enum Buf {
    /// Being built. Empty until the first operation.
    Owned(Vec<u8>),
    /// Decoded from bytes that someone else holds too; copied on the first change.
    Shared(Bytes),
}

impl Default for Buf {
    fn default() -> Self {
        Self::Owned(Vec::new())
    }
}

impl PartialEq for WriteBatch {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for WriteBatch {}

impl WriteBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty batch with room for `bytes` of operations.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { buf: Buf::Owned(Vec::with_capacity(HEADER + bytes)) }
    }

    /// Sets a key.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.push(OP_PUT, key, Some(value));
    }

    /// Deletes a key.
    pub fn delete(&mut self, key: &[u8]) {
        self.push(OP_DELETE, key, None);
    }

    /// Deletes every key in `start..end`. Deletes nothing if `end` is not after `start`.
    pub fn delete_range(&mut self, start: &[u8], end: &[u8]) {
        if start < end {
            self.push(OP_DELETE_RANGE, start, Some(end));
        }
    }

    /// Appends another batch's operations.
    pub fn extend(&mut self, other: &WriteBatch) {
        let added = other.len();
        if added == 0 {
            return;
        }
        let (count, buf) = (self.len(), self.owned());
        buf.extend_from_slice(&other.as_bytes()[HEADER..]);
        set_count(buf, count + added);
    }

    /// No operations.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of operations.
    pub fn len(&self) -> usize {
        let b = self.as_bytes();
        u32::from_le_bytes([b[1], b[2], b[3], b[4]]) as usize
    }

    /// Removes all operations, keeping the memory.
    pub fn clear(&mut self) {
        match &mut self.buf {
            Buf::Owned(buf) => buf.clear(),
            Buf::Shared(_) => self.buf = Buf::default(),
        }
    }

    /// The encoded bytes, borrowed.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.buf {
            Buf::Owned(buf) if buf.is_empty() => &EMPTY,
            Buf::Owned(buf) => buf,
            Buf::Shared(bytes) => bytes,
        }
    }

    /// The encoded bytes.
    pub fn encode(&self) -> Bytes {
        match &self.buf {
            Buf::Shared(bytes) => bytes.clone(),
            Buf::Owned(_) => Bytes::copy_from_slice(self.as_bytes()),
        }
    }

    /// Parses encoded bytes (checks the structure completely).
    ///
    /// # Errors
    /// [`Error::Version`] for another version's batch, [`Error::Corrupt`] for anything else that is not one.
    pub fn decode(bytes: Bytes) -> Result<Self> {
        check(&bytes)?;
        Ok(Self { buf: Buf::Shared(bytes) })
    }

    /// The operations in order.
    pub fn iter(&self) -> Ops<'_> {
        Ops { data: self.as_bytes(), pos: HEADER }
    }

    fn push(&mut self, kind: u8, key: &[u8], second: Option<&[u8]>) {
        let (count, buf) = (self.len(), self.owned());
        buf.push(kind);
        put_bytes(buf, key);
        if let Some(second) = second {
            put_bytes(buf, second);
        }
        set_count(buf, count + 1);
    }

    /// The buffer for writing, with its header.
    fn owned(&mut self) -> &mut Vec<u8> {
        if let Buf::Shared(bytes) = &self.buf {
            self.buf = Buf::Owned(bytes.to_vec());
        }
        match &mut self.buf {
            Buf::Owned(buf) => {
                if buf.is_empty() {
                    buf.extend_from_slice(&EMPTY);
                }
                buf
            }
            Buf::Shared(_) => unreachable!("replaced above"),
        }
    }
}

/// The operations of an encoded batch, its structure checked completely.
pub(crate) fn check(bytes: &[u8]) -> Result<Ops<'_>> {
    let corrupt = |offset: usize, detail: &str| Error::Corrupt {
        what: "write batch",
        path: PathBuf::new(),
        offset: offset as u64,
        detail: detail.to_string(),
    };
    let mut r = Reader::new(bytes);
    let version = r.u8().ok_or_else(|| corrupt(0, "empty"))?;
    if version != BATCH_VERSION {
        let path = PathBuf::from("write batch");
        return Err(Error::Version { path, found: u32::from(version), supported: u32::from(BATCH_VERSION) });
    }
    let count = r.u32().ok_or_else(|| corrupt(1, "no operation count"))?;
    let mut seen = 0u32;
    while !r.is_done() {
        let at = r.position();
        let ok = match r.u8() {
            Some(OP_PUT) => r.bytes().is_some() && r.bytes().is_some(),
            Some(OP_DELETE) => r.bytes().is_some(),
            Some(OP_DELETE_RANGE) => match (r.bytes(), r.bytes()) {
                (Some(start), Some(end)) => start < end,
                _ => false,
            },
            _ => return Err(corrupt(at, "unknown operation")),
        };
        if !ok {
            return Err(corrupt(at, "operation is cut short or its range is empty"));
        }
        seen = seen.checked_add(1).ok_or_else(|| corrupt(at, "too many operations"))?;
    }
    if seen != count {
        return Err(corrupt(1, &format!("counts {count} operations but holds {seen}")));
    }
    Ok(Ops { data: bytes, pos: HEADER })
}

fn set_count(buf: &mut [u8], count: usize) {
    let count = u32::try_from(count).expect("a batch holds fewer than 2^32 operations");
    buf[1..HEADER].copy_from_slice(&count.to_le_bytes());
}

/// Iterator over a batch's operations. The structure was checked when the batch was built or decoded.
pub struct Ops<'a> {
    data: &'a [u8],
    pos: usize,
}

impl<'a> Ops<'a> {
    #[inline]
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let (len, start) = get_varint(self.data, self.pos)?;
        let end = start.checked_add(len as usize)?;
        self.pos = end;
        self.data.get(start..end)
    }
}

impl<'a> Iterator for Ops<'a> {
    type Item = Op<'a>;

    #[inline]
    fn next(&mut self) -> Option<Op<'a>> {
        let kind = *self.data.get(self.pos)?;
        self.pos += 1;
        let key = self.bytes()?;
        Some(match kind {
            OP_PUT => Op::Put { key, value: self.bytes()? },
            OP_DELETE => Op::Delete { key },
            _ => Op::DeleteRange { start: key, end: self.bytes()? },
        })
    }
}

impl<'a> IntoIterator for &'a WriteBatch {
    type Item = Op<'a>;
    type IntoIter = Ops<'a>;

    fn into_iter(self) -> Ops<'a> {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    type Model = (u8, Vec<u8>, Vec<u8>);

    fn build(ops: &[Model]) -> WriteBatch {
        let mut b = WriteBatch::new();
        for (kind, x, y) in ops {
            match kind {
                0 => b.put(x, y),
                1 => b.delete(x),
                _ => b.delete_range(x, y),
            }
        }
        b
    }

    fn expected(ops: &[Model]) -> Vec<Op<'_>> {
        ops.iter()
            .filter_map(|(kind, x, y)| match kind {
                0 => Some(Op::Put { key: x, value: y }),
                1 => Some(Op::Delete { key: x }),
                _ if x < y => Some(Op::DeleteRange { start: x, end: y }),
                _ => None,
            })
            .collect()
    }

    fn ops() -> impl Strategy<Value = Vec<Model>> {
        vec((0u8..3, vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..200)), 0..20)
    }

    proptest! {
        #[test]
        fn round_trip(a in ops(), b in ops()) {
            let mut batch = build(&a);
            prop_assert_eq!(batch.iter().collect::<Vec<_>>(), expected(&a));
            let decoded = WriteBatch::decode(batch.encode()).unwrap();
            prop_assert_eq!(&decoded, &batch);
            let mut extended = decoded;
            extended.extend(&build(&b));
            batch.extend(&WriteBatch::decode(build(&b).encode()).unwrap());
            prop_assert_eq!(&extended, &batch);
            let all: Vec<Model> = a.iter().chain(&b).cloned().collect();
            prop_assert_eq!(extended.iter().collect::<Vec<_>>(), expected(&all));
            prop_assert_eq!(extended.len(), expected(&all).len());
        }

        #[test]
        fn decode_never_panics_and_what_it_takes_it_can_iterate(mut data: Vec<u8>, version in 0u8..3) {
            data.insert(0, version);
            if let Ok(b) = WriteBatch::decode(Bytes::from(data)) {
                prop_assert_eq!(b.iter().count(), b.len());
            }
        }

        #[test]
        fn a_cut_batch_is_refused(a in ops()) {
            let whole = build(&a).encode();
            for cut in 0..whole.len() {
                prop_assert!(WriteBatch::decode(whole.slice(..cut)).is_err());
            }
        }
    }

    #[test]
    fn another_version_is_named() {
        let err = WriteBatch::decode(Bytes::from_static(&[9, 0, 0, 0, 0])).unwrap_err();
        assert!(matches!(err, Error::Version { found: 9, supported: 1, .. }), "{err}");
    }
}
