//! The bytes of value files and of the pointers into them. Layout: docs/formats/values.md.

use crate::lsm::codec::{Reader, put_bytes, put_varint};
use crate::lsm::table::Compression;
use crate::lsm::table::format::{Handle, TRAILER, open_block, seal_block};
use crate::{Error, Result};
use bytes::Bytes;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Version of the value file format.
pub(crate) const VALUES_VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"TORCVAL\n";
/// Magic, version, file number, checksum.
pub(crate) const HEADER: usize = 28;
/// Length before each record.
pub(crate) const LENGTH: u64 = 4;

/// What the manifest says of a value file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ValueMeta {
    pub(crate) number: u64,
    /// Length of the file, bytes.
    pub(crate) size: u64,
    /// xxh3-64 of the whole file.
    pub(crate) checksum: u64,
    pub(crate) records: u64,
    /// Length of all records.
    pub(crate) bytes: u64,
}

impl ValueMeta {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.number);
        put_varint(out, self.size);
        out.extend_from_slice(&self.checksum.to_le_bytes());
        put_varint(out, self.records);
        put_varint(out, self.bytes);
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Option<Self> {
        let (number, size) = (r.varint()?, r.varint()?);
        let checksum = r.u64()?;
        Some(Self { number, size, checksum, records: r.varint()?, bytes: r.varint()? })
    }
}

/// How much of a value file a table refers to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ValueRef {
    pub(crate) file: u64,
    pub(crate) records: u64,
    /// Length of these records.
    pub(crate) bytes: u64,
}

impl ValueRef {
    pub(crate) fn encode_all(refs: &[Self], out: &mut Vec<u8>) {
        put_varint(out, refs.len() as u64);
        for r in refs {
            for v in [r.file, r.records, r.bytes] {
                put_varint(out, v);
            }
        }
    }

    /// In ascending order of files, each once.
    pub(crate) fn decode_all(r: &mut Reader<'_>) -> Option<Vec<Self>> {
        let count = r.varint()?;
        let mut refs: Vec<Self> = Vec::new();
        for _ in 0..count {
            let one = Self { file: r.varint()?, records: r.varint()?, bytes: r.varint()? };
            if refs.last().is_some_and(|last| last.file >= one.file) {
                return None;
            }
            refs.push(one);
        }
        Some(refs)
    }
}

/// What a table holds in place of a large value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    /// Number of the value file.
    pub(crate) file: u64,
    /// Where the sealed record starts, behind its length.
    pub(crate) offset: u64,
    /// Length of the sealed record.
    pub(crate) len: u32,
    /// The record's checksum: the pointer is to exactly this value.
    pub(crate) checksum: u64,
}

impl Pointer {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        put_varint(out, self.file);
        put_varint(out, self.offset);
        put_varint(out, u64::from(self.len));
        out.extend_from_slice(&self.checksum.to_le_bytes());
    }

    /// `None` if the bytes are not a pointer and nothing else.
    pub(crate) fn decode(data: &[u8]) -> Option<Self> {
        let mut r = Reader::new(data);
        let (file, offset) = (r.varint()?, r.varint()?);
        let len = u32::try_from(r.varint()?).ok()?;
        let checksum = r.u64()?;
        r.is_done().then_some(Self { file, offset, len, checksum })
    }

    /// Bytes that the record takes in its file.
    pub(crate) fn record_bytes(self) -> u64 {
        u64::from(self.len) + LENGTH
    }

    /// Whether it points between the header and the end of a file of `size` bytes.
    pub(crate) fn fits(self, size: u64) -> bool {
        self.offset >= HEADER as u64 + LENGTH
            && self.len as usize > TRAILER
            && self.offset.checked_add(u64::from(self.len)).is_some_and(|end| end <= size)
    }
}

/// `000042.val`.
pub(crate) fn values_name(number: u64) -> String {
    format!("{number:06}.val")
}

/// The number in a value file's name.
pub(crate) fn value_number(name: &Path) -> Option<u64> {
    name.to_str()?.strip_suffix(".val")?.parse().ok()
}

pub(crate) fn header(number: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VALUES_VERSION.to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    let sum = xxh3_64_with_seed(&out, 0);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

/// Checks a header and returns the number that the file was written under.
pub(crate) fn check_header(data: &[u8], path: &Path) -> Result<u64> {
    let corrupt = |offset, detail: &str| corrupt(path, offset, detail.to_string());
    let mut r = Reader::new(data);
    let short = || corrupt(0, "too short for a header");
    let magic = r.take(8).ok_or_else(short)?;
    let version = r.u32().ok_or_else(short)?;
    let number = r.u64().ok_or_else(short)?;
    let sum = r.u64().ok_or_else(short)?;
    if magic != MAGIC {
        return Err(corrupt(0, "magic number is wrong: not a value file"));
    }
    if version != VALUES_VERSION {
        return Err(Error::Version { path: path.to_path_buf(), found: version, supported: VALUES_VERSION });
    }
    if xxh3_64_with_seed(&data[..HEADER - 8], 0) != sum {
        return Err(corrupt(0, "header checksum does not match"));
    }
    Ok(number)
}

pub(crate) fn corrupt(path: &Path, offset: u64, detail: String) -> Error {
    Error::Corrupt { what: "value", path: path.to_path_buf(), offset, detail }
}

/// Appends a record, which will be at `offset` of file `number`, and returns the pointer to it. `scratch` is
/// overwritten.
pub(crate) fn put_record(
    number: u64,
    offset: u64,
    key: &[u8],
    value: &[u8],
    compression: Compression,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Pointer {
    scratch.clear();
    put_bytes(scratch, key);
    scratch.extend_from_slice(value);
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH as usize]);
    let offset = offset + LENGTH;
    seal_block(scratch, compression, number, offset, out);
    let body = start + LENGTH as usize;
    let len = u32::try_from(out.len() - body).expect("a batch is at most 256 MiB");
    out[start..body].copy_from_slice(&len.to_le_bytes());
    let checksum = u64::from_le_bytes(out[out.len() - 8..].try_into().expect("eight bytes"));
    Pointer { file: number, offset, len, checksum }
}

/// Opens a sealed record read from file `number` at `offset`: its key and its value.
pub(crate) fn open_record(sealed: Vec<u8>, number: u64, offset: u64, path: &Path) -> Result<(Bytes, Bytes)> {
    let handle = Handle { offset, len: u32::try_from(sealed.len()).unwrap_or(u32::MAX) };
    let raw = Bytes::from(open_block(sealed, number, handle, path)?);
    let mut r = Reader::new(&raw);
    let Some(key) = r.bytes() else {
        return Err(corrupt(path, offset, "the record's key does not parse".into()));
    };
    let value = r.position();
    let key = raw.slice_ref(key);
    Ok((key, raw.slice(value..)))
}

/// Goes through the bytes of a whole value file: `each` gets every record's pointer, key and value. The
/// number of the file.
///
/// # Errors
/// The first thing that is wrong; or what `each` answers.
pub(crate) fn walk(
    data: &[u8],
    path: &Path,
    mut each: impl FnMut(Pointer, &[u8], &[u8]) -> Result<()>,
) -> Result<u64> {
    let number = check_header(data, path)?;
    let mut r = Reader::new(data);
    let _ = r.take(HEADER);
    while !r.is_done() {
        let at = r.position() as u64;
        let sealed = r.u32().and_then(|len| r.take(len as usize)).filter(|s| s.len() > TRAILER);
        let Some(sealed) = sealed else {
            return Err(corrupt(path, at, "a record is cut short".into()));
        };
        let offset = at + LENGTH;
        let (key, value) = open_record(sealed.to_vec(), number, offset, path)?;
        let checksum = u64::from_le_bytes(sealed[sealed.len() - 8..].try_into().expect("eight bytes"));
        each(Pointer { file: number, offset, len: sealed.len() as u32, checksum }, &key, &value)?;
    }
    Ok(number)
}
