//! The bytes of a segment: header, batches, units, records, table. Drawn in `docs/formats/log.md`; the
//! constants here repeat the drawing.
//!
//! Pure: no files. Decoding never trusts a length or an offset from disk.

use super::Record;
use crate::lsm::codec::{get_varint, put_varint};
use bytes::Bytes;

/// Alignment of everything written, bytes.
pub(super) const BLOCK: u64 = 4096;
pub(super) const VERSION: u32 = 2;
const MAGIC: [u8; 8] = *b"TORCLOG\0";
const BATCH_MAGIC: u32 = u32::from_le_bytes(*b"TLBt");
/// Bytes of the segment header that carry meaning; the rest of its block is zero.
pub(super) const SEGMENT_HEADER: usize = 64;
pub(super) const BATCH_HEADER: usize = 64;
/// Shortest record, bytes.
pub(super) const MIN_RECORD: usize = 8;
/// Longest state blob, bytes.
pub(super) const MAX_STATE_BYTES: usize = 4096;
/// Longest encoded append, bytes.
pub(super) const MAX_APPEND_BYTES: usize = 512 << 20;

const KIND_ENTRY: u8 = 1;
const KIND_STATE: u8 = 2;
const KIND_TRUNCATE: u8 = 3;
const KIND_DROP: u8 = 4;

/// Rounds up to a block.
pub(super) fn align(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK) * BLOCK
}

/// Little-endian reads that return `None` at the end of the bytes.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }
    fn u8(&mut self) -> Option<u8> {
        self.bytes(1).map(|b| b[0])
    }
    pub(super) fn u32(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_le_bytes)
    }
    pub(super) fn u64(&mut self) -> Option<u64> {
        self.bytes(8)?.try_into().ok().map(u64::from_le_bytes)
    }
    fn varint(&mut self) -> Option<u64> {
        let (value, len) = get_varint(self.0, 0)?;
        self.bytes(len).map(|_| value)
    }
}

/// First sector of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) generation: u64,
    /// The segment that was written before this one, 0 if none, and how far it was durable when this header
    /// was written.
    pub(super) previous: u64,
    pub(super) previous_end: u64,
    /// Mixed into every batch checksum, so that a payload cannot pass for a batch.
    pub(super) salt: u64,
}

/// What the first bytes of a segment file are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// Never used.
    Blank,
    Valid(SegmentHeader),
    Version(u32),
    Damaged,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut out = [0; SEGMENT_HEADER];
        out[0..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[16..24].copy_from_slice(&self.generation.to_le_bytes());
        out[24..32].copy_from_slice(&self.previous.to_le_bytes());
        out[32..40].copy_from_slice(&self.previous_end.to_le_bytes());
        out[40..48].copy_from_slice(&self.salt.to_le_bytes());
        let crc = crc32c::crc32c(&out);
        out[12..16].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8; SEGMENT_HEADER]) -> Header {
        if bytes.iter().all(|b| *b == 0) {
            return Header::Blank;
        }
        let mut unsummed = *bytes;
        unsummed[12..16].fill(0);
        let mut input = Input(&bytes[8..]);
        let parsed = (|| {
            let version = input.u32()?;
            let crc = input.u32()?;
            let header = SegmentHeader {
                generation: input.u64()?,
                previous: input.u64()?,
                previous_end: input.u64()?,
                salt: input.u64()?,
            };
            Some((version, crc, header))
        })();
        match parsed {
            Some((version, crc, header)) if bytes[..8] == MAGIC && crc == crc32c::crc32c(&unsummed) => {
                if version == VERSION {
                    Header::Valid(header)
                } else {
                    Header::Version(version)
                }
            }
            _ => Header::Damaged,
        }
    }
}

/// What a batch carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BatchKind {
    Units = 1,
    Table = 2,
}

/// The head of each write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BatchHeader {
    pub(super) generation: u64,
    /// Its own place in the segment, bytes.
    pub(super) offset: u64,
    /// Everything in this segment below this byte was durable before this batch was written.
    pub(super) durable_through: u64,
    /// Number of the first unit (for a table: of the next unit).
    pub(super) first_lsn: u64,
    pub(super) units: u32,
    pub(super) payload_len: u32,
    pub(super) payload_crc: u32,
    pub(super) kind: BatchKind,
}

fn seed(salt: u64) -> u32 {
    (salt ^ (salt >> 32)) as u32
}

impl BatchHeader {
    pub(super) fn encode(&self, salt: u64) -> [u8; BATCH_HEADER] {
        let mut out = [0; BATCH_HEADER];
        out[0..4].copy_from_slice(&BATCH_MAGIC.to_le_bytes());
        out[8..16].copy_from_slice(&self.generation.to_le_bytes());
        out[16..24].copy_from_slice(&self.offset.to_le_bytes());
        out[24..32].copy_from_slice(&self.durable_through.to_le_bytes());
        out[32..40].copy_from_slice(&self.first_lsn.to_le_bytes());
        out[40..44].copy_from_slice(&self.units.to_le_bytes());
        out[44..48].copy_from_slice(&self.payload_len.to_le_bytes());
        out[48..52].copy_from_slice(&self.payload_crc.to_le_bytes());
        out[52..56].copy_from_slice(&(self.kind as u32).to_le_bytes());
        let crc = crc32c::crc32c_append(seed(salt), &out[8..]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None` if the bytes are not a batch header of this salt.
    pub(super) fn decode(bytes: &[u8], salt: u64) -> Option<Self> {
        let bytes = bytes.get(..BATCH_HEADER)?;
        let mut input = Input(bytes);
        if input.u32()? != BATCH_MAGIC || input.u32()? != crc32c::crc32c_append(seed(salt), &bytes[8..]) {
            return None;
        }
        Some(Self {
            generation: input.u64()?,
            offset: input.u64()?,
            durable_through: input.u64()?,
            first_lsn: input.u64()?,
            units: input.u32()?,
            payload_len: input.u32()?,
            payload_crc: input.u32()?,
            kind: match input.u32()? {
                1 => BatchKind::Units,
                2 => BatchKind::Table,
                _ => return None,
            },
        })
    }

    /// Bytes that the batch takes in the segment, padding included.
    pub(super) fn span(&self) -> u64 {
        align(BATCH_HEADER as u64 + u64::from(self.payload_len))
    }
}

/// An append, encoded.
pub(super) struct Unit {
    pub(super) bytes: Bytes,
    /// Where each record starts in `bytes`.
    pub(super) starts: Vec<u32>,
}

/// Bytes of a number as a varint.
fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// Bytes of a record before its payload.
pub(super) fn record_header(stream: u64, index: u64, payload_len: usize) -> usize {
    4 + 1 + varint_len(payload_len as u64) + varint_len(stream) + varint_len(index)
}

/// The parts of a record: kind, stream, index and payload.
fn parts(record: &Record) -> (u8, u64, u64, &[u8]) {
    match record {
        Record::Entry { stream, index, payload } => (KIND_ENTRY, *stream, *index, payload),
        Record::State { stream, blob } => (KIND_STATE, *stream, 0, blob),
        Record::TruncatePrefix { stream, through } => (KIND_TRUNCATE, *stream, *through, &[]),
        Record::Drop { stream } => (KIND_DROP, *stream, 0, &[]),
    }
}

/// Bytes that the records of an append take.
fn records_len(records: &[Record]) -> usize {
    records.iter().map(parts).fold(0, |sum: usize, (_, stream, index, payload)| {
        sum.saturating_add(record_header(stream, index, payload.len())).saturating_add(payload.len())
    })
}

/// Bytes that an append takes once encoded.
pub(super) fn unit_len(records: &[Record]) -> usize {
    let len = records_len(records);
    len.saturating_add(varint_len(len as u64) + varint_len(records.len() as u64))
}

/// Encodes an append of at most [`MAX_APPEND_BYTES`].
pub(super) fn encode_unit(records: &[Record]) -> Unit {
    let len = records_len(records);
    let mut out = Vec::with_capacity(unit_len(records));
    let mut starts = Vec::with_capacity(records.len());
    put_varint(&mut out, len as u64);
    put_varint(&mut out, records.len() as u64);
    for (kind, stream, index, payload) in records.iter().map(parts) {
        let start = out.len();
        starts.push(start as u32);
        out.extend_from_slice(&[0, 0, 0, 0, kind]);
        put_varint(&mut out, payload.len() as u64);
        put_varint(&mut out, stream);
        put_varint(&mut out, index);
        out.extend_from_slice(payload);
        let crc = crc32c::crc32c(&out[start + 4..]);
        out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    }
    Unit { bytes: out.into(), starts }
}

/// One record as read from disk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RecordView<'a> {
    Entry { stream: u64, index: u64, payload: &'a [u8] },
    State { stream: u64, blob: &'a [u8] },
    TruncatePrefix { stream: u64, through: u64 },
    Drop { stream: u64 },
}

/// Parses one record and checks its checksum; `None` if cut short, damaged or of unknown kind.
pub(super) fn decode_record<'a>(input: &mut Input<'a>) -> Option<RecordView<'a>> {
    let whole = input.0;
    let view = parse_record(input)?;
    let len = whole.len() - input.0.len();
    let (crc, covered) = whole.get(..len)?.split_first_chunk()?;
    (u32::from_le_bytes(*crc) == crc32c::crc32c(covered)).then_some(view)
}

/// Parses one record of a batch whose own checksum was right, which covers the record too.
fn parse_record<'a>(input: &mut Input<'a>) -> Option<RecordView<'a>> {
    let before = input.0.len();
    let _crc = input.u32()?;
    let kind = input.u8()?;
    let len = usize::try_from(input.varint()?).ok()?;
    let (stream, index) = (input.varint()?, input.varint()?);
    // Each number has exactly one encoding, so the position of the payload follows from the values of the
    // record.
    if before - input.0.len() != record_header(stream, index, len) {
        return None;
    }
    let payload = input.bytes(len)?;
    match kind {
        // Never written, and nothing could follow it.
        KIND_ENTRY | KIND_TRUNCATE if index == u64::MAX => None,
        KIND_ENTRY => Some(RecordView::Entry { stream, index, payload }),
        KIND_STATE => Some(RecordView::State { stream, blob: payload }),
        KIND_TRUNCATE => Some(RecordView::TruncatePrefix { stream, through: index }),
        KIND_DROP => Some(RecordView::Drop { stream }),
        _ => None,
    }
}

/// Calls `each` with the place of every record in a batch's payload, which matches its checksum; `None` at
/// the first thing that does not parse.
pub(super) fn decode_units<'a>(
    payload: &'a [u8],
    units: u32,
    mut each: impl FnMut(usize, RecordView<'a>) -> Option<()>,
) -> Option<()> {
    let mut input = Input(payload);
    for _ in 0..units {
        let len = usize::try_from(input.varint()?).ok()?;
        let records = input.varint()?;
        let mut unit = Input(input.bytes(len)?);
        let end = payload.len() - input.0.len();
        for _ in 0..records {
            let start = end - unit.0.len();
            each(start, parse_record(&mut unit)?)?;
        }
        if !unit.0.is_empty() {
            return None;
        }
    }
    input.0.is_empty().then_some(())
}

/// A stream's entries that one segment holds, as the table lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableRun {
    pub(super) generation: u64,
    pub(super) first: u64,
    pub(super) last: u64,
}

/// A stream, as the table lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableStream {
    pub(super) stream: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) state: Bytes,
    pub(super) runs: Vec<TableRun>,
}

/// Everything that a new segment records about the older ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    /// Generation and end, in bytes, of each older segment that holds live entries.
    pub(super) segments: Vec<(u64, u64)>,
    pub(super) streams: Vec<TableStream>,
}

impl Table {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
        put(&(self.segments.len() as u32).to_le_bytes());
        for (generation, end) in &self.segments {
            put(&generation.to_le_bytes());
            put(&end.to_le_bytes());
        }
        put(&(self.streams.len() as u32).to_le_bytes());
        for stream in &self.streams {
            put(&stream.stream.to_le_bytes());
            put(&stream.first.to_le_bytes());
            put(&stream.last.to_le_bytes());
            put(&(stream.state.len() as u32).to_le_bytes());
            put(&(stream.runs.len() as u32).to_le_bytes());
            put(&stream.state);
            for run in &stream.runs {
                put(&run.generation.to_le_bytes());
                put(&run.first.to_le_bytes());
                put(&run.last.to_le_bytes());
            }
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Input(bytes);
        let mut table = Self::default();
        for _ in 0..input.u32()? {
            table.segments.push((input.u64()?, input.u64()?));
        }
        for _ in 0..input.u32()? {
            let (stream, first, last) = (input.u64()?, input.u64()?, input.u64()?);
            let (state, runs) = (input.u32()? as usize, input.u32()?);
            let state = Bytes::copy_from_slice(input.bytes(state)?);
            let mut stream = TableStream { stream, first, last, state, runs: Vec::new() };
            for _ in 0..runs {
                let run = TableRun { generation: input.u64()?, first: input.u64()?, last: input.u64()? };
                if run.first > run.last || run.first < first || run.last > last || run.last == u64::MAX {
                    return None;
                }
                stream.runs.push(run);
            }
            table.streams.push(stream);
        }
        input.0.is_empty().then_some(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> impl Strategy<Value = Record> {
        let payload = || proptest::collection::vec(any::<u8>(), 0..100).prop_map(Bytes::from);
        prop_oneof![
            (any::<u64>(), any::<u64>(), payload()).prop_map(|(stream, index, payload)| Record::Entry {
                stream,
                index,
                payload
            }),
            (any::<u64>(), payload()).prop_map(|(stream, blob)| Record::State { stream, blob }),
            (any::<u64>(), any::<u64>())
                .prop_map(|(stream, through)| Record::TruncatePrefix { stream, through }),
            any::<u64>().prop_map(|stream| Record::Drop { stream }),
        ]
    }

    fn as_record(view: &RecordView<'_>) -> String {
        match view {
            RecordView::Entry { stream, index, payload } => {
                let payload = Bytes::copy_from_slice(payload);
                format!("{:?}", Record::Entry { stream: *stream, index: *index, payload })
            }
            RecordView::State { stream, blob } => {
                format!("{:?}", Record::State { stream: *stream, blob: Bytes::copy_from_slice(blob) })
            }
            RecordView::TruncatePrefix { stream, through } => {
                format!("{:?}", Record::TruncatePrefix { stream: *stream, through: *through })
            }
            RecordView::Drop { stream } => format!("{:?}", Record::Drop { stream: *stream }),
        }
    }

    proptest! {
        #[test]
        fn units_round_trip_and_every_damage_shows(
            units in proptest::collection::vec(proptest::collection::vec(record(), 0..5), 0..4),
            byte in any::<prop::sample::Index>(), bit in 0..8,
        ) {
            let mut payload = Vec::new();
            let mut starts = Vec::new();
            for unit in &units {
                let encoded = encode_unit(unit);
                prop_assert_eq!(encoded.bytes.len(), unit_len(unit));
                starts.extend(encoded.starts.iter().map(|s| payload.len() + *s as usize));
                payload.extend_from_slice(&encoded.bytes);
            }
            let mut seen = Vec::new();
            let count = units.len() as u32;
            decode_units(&payload, count, |at, view| { seen.push((at, as_record(&view))); Some(()) }).unwrap();
            let expected: Vec<_> = starts.into_iter().zip(units.iter().flatten().map(|r| format!("{r:?}"))).collect();
            prop_assert_eq!(&seen, &expected);
            prop_assert!(decode_units(&payload, count + 1, |_, _| Some(())).is_none());
            if !payload.is_empty() {
                prop_assert!(decode_units(&payload[..payload.len() - 1], count, |_, _| Some(())).is_none());
                let at = byte.index(payload.len());
                payload[at] ^= 1u8 << bit;
                // The batch's checksum would detect it. The parser itself must only not misread.
                let _ = decode_units(&payload, count, |_, _| Some(()));
                if let Some((start, _)) = expected.iter().rev().find(|(start, _)| *start <= at) {
                    let mut input = Input(&payload[*start..]);
                    let damaged = decode_record(&mut input).is_none();
                    let within = at < payload.len() - input.0.len();
                    prop_assert!(damaged || !within, "byte {at} of the record at {start}");
                }
            }
        }

        #[test]
        fn headers_round_trip(a: u64, b: u64, c: u64, d: u64, e: u32, f: u32, at in 0..64usize, bit in 0..8) {
            let header = SegmentHeader { generation: a, previous: b, previous_end: c, salt: d };
            let mut bytes = header.encode();
            prop_assert_eq!(SegmentHeader::decode(&bytes), Header::Valid(header));
            bytes[at] ^= 1u8 << bit;
            prop_assert_eq!(SegmentHeader::decode(&bytes), Header::Damaged);
            let header = BatchHeader {
                generation: a, offset: b, durable_through: c, first_lsn: d, units: e, payload_len: f,
                payload_crc: !e, kind: BatchKind::Table,
            };
            let mut bytes = header.encode(a);
            prop_assert_eq!(BatchHeader::decode(&bytes, a), Some(header));
            prop_assert_eq!(BatchHeader::decode(&bytes, a ^ 1), None);
            bytes[at] ^= 1u8 << bit;
            prop_assert_eq!(BatchHeader::decode(&bytes, a), None);
        }

        #[test]
        fn tables_round_trip_and_junk_is_refused(
            segments in proptest::collection::vec(any::<(u64, u64)>(), 0..4),
            streams in proptest::collection::vec((any::<u64>(), 0..50u64, proptest::collection::vec(any::<u8>(), 0..20), 0..3u64), 0..5),
            junk in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let streams = streams.into_iter().map(|(stream, first, state, runs)| TableStream {
                stream, first, last: first + 10 * runs, state: state.into(),
                runs: (0..runs).map(|r| TableRun { generation: r, first: first + r * 10, last: first + r * 10 + 9 }).collect(),
            }).collect();
            let table = Table { segments, streams };
            let bytes = table.encode();
            prop_assert_eq!(Table::decode(&bytes), Some(table));
            prop_assert_eq!(Table::decode(&bytes[..bytes.len() - 1]), None);
            let _ = Table::decode(&junk);
        }
    }

    #[test]
    fn blank_and_unknown_version() {
        assert_eq!(SegmentHeader::decode(&[0; SEGMENT_HEADER]), Header::Blank);
        let mut bytes = SegmentHeader { generation: 1, previous: 0, previous_end: 0, salt: 0 }.encode();
        bytes[8] = 9;
        bytes[12..16].fill(0);
        let crc = crc32c::crc32c(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Header::Version(9));
    }
}
