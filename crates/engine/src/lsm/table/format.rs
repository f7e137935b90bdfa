//! The parts of a table file that are not blocks: handles, block trailers and the footer. Layout:
//! docs/formats/sstable.md.

use crate::lsm::codec::{Reader, put_varint};
use crate::{Error, Result};
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Version of the table format.
pub const TABLE_VERSION: u32 = 1;
/// Last eight bytes of a table: `TORCSST` and a newline.
const MAGIC: u64 = u64::from_le_bytes(*b"TORCSST\n");
/// Footer size, bytes.
pub(crate) const FOOTER: usize = 68;
/// Compression kind and checksum behind every block.
pub(crate) const TRAILER: usize = 9;

pub(crate) const COMPRESSION_NONE: u8 = 0;
pub(crate) const COMPRESSION_LZ4: u8 = 1;
pub(crate) const COMPRESSION_ZSTD: u8 = 2;
/// LZ4 cannot expand further than this; a header that claims more is damaged.
const MAX_EXPANSION: usize = 256;
/// No block is larger, bytes: a batch is at most 256 MiB.
const MAX_BLOCK: usize = 512 << 20;

/// How blocks are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Stored as they are.
    None,
    /// LZ4 block format.
    Lz4,
    /// Zstandard, level 1 to 22.
    Zstd(i32),
}

/// Where a block is: its offset and its length with the trailer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Handle {
    pub(crate) offset: u64,
    pub(crate) len: u32,
}

impl Handle {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        put_varint(out, self.offset);
        put_varint(out, u64::from(self.len));
    }

    #[inline]
    pub(crate) fn decode(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self { offset: r.varint()?, len: u32::try_from(r.varint()?).ok()? })
    }

    /// Whether it lies within the first `size` bytes.
    pub(crate) fn fits(self, size: u64) -> bool {
        self.len as usize >= TRAILER
            && self.offset.checked_add(u64::from(self.len)).is_some_and(|end| end <= size)
    }

    fn put_fixed(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.len.to_le_bytes());
    }

    fn get_fixed(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self { offset: r.u64()?, len: r.u32()? })
    }
}

/// Seed of a block's checksum: a block that turns up at another offset or in another table does not pass.
#[inline]
fn seed(table_id: u64, offset: u64) -> u64 {
    table_id.rotate_left(40) ^ offset
}

/// Compresses `raw` if that pays and appends it with its trailer to `out`. `offset` is where it will be in
/// the file.
pub(crate) fn seal_block(
    raw: &[u8],
    compression: Compression,
    table_id: u64,
    offset: u64,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    pack_block(raw, compression, out);
    seal_packed(start, table_id, offset, out);
}

/// The first half of [`seal_block`]: appends the contents and the kind of compression.
pub(crate) fn pack_block(raw: &[u8], compression: Compression, out: &mut Vec<u8>) {
    let start = out.len();
    let mut kind = COMPRESSION_NONE;
    match compression {
        Compression::None => {}
        Compression::Lz4 => {
            out.resize(start + 4 + lz4_flex::block::get_maximum_output_size(raw.len()), 0);
            out[start..start + 4].copy_from_slice(&(raw.len() as u32).to_le_bytes());
            if let Ok(n) = lz4_flex::block::compress_into(raw, &mut out[start + 4..]) {
                out.truncate(start + 4 + n);
                kind = COMPRESSION_LZ4;
            }
        }
        Compression::Zstd(level) => {
            out.extend_from_slice(&(raw.len() as u32).to_le_bytes());
            if let Ok(packed) = zstd::bulk::compress(raw, level) {
                out.extend_from_slice(&packed);
                kind = COMPRESSION_ZSTD;
            }
        }
    }
    // Less than an eighth saved is not worth decompressing for.
    if kind == COMPRESSION_NONE || out.len() - start > raw.len() - raw.len() / 8 {
        out.truncate(start);
        out.extend_from_slice(raw);
        kind = COMPRESSION_NONE;
    }
    out.push(kind);
}

/// The second half: the checksum over what lies in `out` from `start` on.
pub(crate) fn seal_packed(start: usize, table_id: u64, offset: u64, out: &mut Vec<u8>) {
    let sum = xxh3_64_with_seed(&out[start..], seed(table_id, offset));
    out.extend_from_slice(&sum.to_le_bytes());
}

/// Checks a block read with its trailer and returns its contents.
pub(crate) fn open_block(mut sealed: Vec<u8>, table_id: u64, handle: Handle, path: &Path) -> Result<Vec<u8>> {
    let (kind, body) = check_block(&sealed, table_id, handle, path)?;
    if kind == COMPRESSION_NONE {
        let body = body.len();
        sealed.truncate(body);
        return Ok(sealed);
    }
    let mut raw = Vec::new();
    unpack(kind, body, &mut raw, handle, path)?;
    Ok(raw)
}

fn corrupt_block(path: &Path, handle: Handle, detail: String) -> Error {
    Error::Corrupt { what: "block", path: path.to_path_buf(), offset: handle.offset, detail }
}

/// Checks the trailer: how the block is compressed, and what lies before the trailer.
pub(super) fn check_block<'a>(
    sealed: &'a [u8],
    table_id: u64,
    handle: Handle,
    path: &Path,
) -> Result<(u8, &'a [u8])> {
    let corrupt = |detail: String| corrupt_block(path, handle, detail);
    let Some(body) = sealed.len().checked_sub(TRAILER) else {
        return Err(corrupt(format!("{} bytes are too short for a block", sealed.len())));
    };
    let stored = u64::from_le_bytes(sealed[body + 1..].try_into().expect("eight bytes"));
    let actual = xxh3_64_with_seed(&sealed[..=body], seed(table_id, handle.offset));
    if stored != actual {
        return Err(corrupt(format!("checksum is {actual:016x}, stored {stored:016x}")));
    }
    Ok((sealed[body], &sealed[..body]))
}

/// Unpacks a compressed block to the front of `out`; returns its length.
pub(super) fn unpack(kind: u8, body: &[u8], out: &mut Vec<u8>, handle: Handle, path: &Path) -> Result<usize> {
    let corrupt = |detail: String| corrupt_block(path, handle, detail);
    let mut r = Reader::new(body);
    let raw_len = r.u32().ok_or_else(|| corrupt("no length before compressed data".into()))? as usize;
    let packed = &body[4..];
    let len = match kind {
        COMPRESSION_LZ4 if raw_len <= packed.len().saturating_mul(MAX_EXPANSION) => {
            if out.len() < raw_len {
                out.resize(raw_len, 0);
            }
            let len = super::lz4::unpack(packed, &mut out[..raw_len]);
            len.ok_or_else(|| corrupt("LZ4: malformed, or longer than announced".into()))?
        }
        COMPRESSION_ZSTD if raw_len <= MAX_BLOCK => {
            let raw = zstd::bulk::decompress(packed, raw_len);
            *out = raw.map_err(|e| corrupt(format!("Zstandard: {e}")))?;
            out.len()
        }
        _ => return Err(corrupt(format!("compression kind {kind} for {raw_len} bytes"))),
    };
    if len != raw_len {
        return Err(corrupt(format!("{len} bytes unpacked, {raw_len} announced")));
    }
    Ok(len)
}

/// Opens a body with its compression byte after giving it the right checksum, for tests of what lies behind
/// that.
#[cfg(test)]
pub(crate) fn open_resealed(mut body: Vec<u8>, table_id: u64, offset: u64) -> Result<Vec<u8>> {
    let sum = xxh3_64_with_seed(&body, seed(table_id, offset));
    body.extend_from_slice(&sum.to_le_bytes());
    let handle = Handle { offset, len: body.len() as u32 };
    open_block(body, table_id, handle, Path::new("t"))
}

/// The end of a table: where everything else is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) top_index: Handle,
    /// Length zero if the table has no range deletes.
    pub(crate) range_dels: Handle,
    pub(crate) properties: Handle,
    /// Mixed into block checksums.
    pub(crate) table_id: u64,
}

impl Footer {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FOOTER);
        self.top_index.put_fixed(&mut out);
        self.range_dels.put_fixed(&mut out);
        self.properties.put_fixed(&mut out);
        out.extend_from_slice(&self.table_id.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        let sum = xxh3_64_with_seed(&out, u64::from(TABLE_VERSION));
        out.extend_from_slice(&sum.to_le_bytes());
        out.extend_from_slice(&TABLE_VERSION.to_le_bytes());
        out.extend_from_slice(&MAGIC.to_le_bytes());
        debug_assert_eq!(out.len(), FOOTER);
        out
    }

    /// Parses the last [`FOOTER`] bytes of a file of `size` bytes.
    pub(crate) fn decode(data: &[u8], size: u64, path: &Path) -> Result<Self> {
        let offset = size.saturating_sub(FOOTER as u64);
        let corrupt = |detail: &str| Error::Corrupt {
            what: "table footer",
            path: path.to_path_buf(),
            offset,
            detail: detail.to_string(),
        };
        if data.len() != FOOTER {
            return Err(corrupt("file is too short for a table"));
        }
        let mut tail = Reader::new(&data[FOOTER - 20..]);
        let (Some(sum), Some(version), Some(magic)) = (tail.u64(), tail.u32(), tail.u64()) else {
            return Err(corrupt("cut short"));
        };
        if magic != MAGIC {
            return Err(corrupt("magic number is wrong: not a table"));
        }
        if version != TABLE_VERSION {
            return Err(Error::Version {
                path: path.to_path_buf(),
                found: version,
                supported: TABLE_VERSION,
            });
        }
        if xxh3_64_with_seed(&data[..FOOTER - 20], u64::from(version)) != sum {
            return Err(corrupt("checksum does not match"));
        }
        let mut r = Reader::new(data);
        let parsed = (|| {
            Some(Self {
                top_index: Handle::get_fixed(&mut r)?,
                range_dels: Handle::get_fixed(&mut r)?,
                properties: Handle::get_fixed(&mut r)?,
                table_id: r.u64()?,
            })
        })();
        let footer = parsed.ok_or_else(|| corrupt("cut short"))?;
        let ok = footer.top_index.fits(offset)
            && footer.properties.fits(offset)
            && (footer.range_dels.len == 0 || footer.range_dels.fits(offset));
        if ok { Ok(footer) } else { Err(corrupt("a handle points outside the file")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn blocks_round_trip_and_every_flip_is_seen(
            raw in prop_oneof![proptest::collection::vec(any::<u8>(), 0..300), proptest::collection::vec(0u8..2, 0..3000)],
            kind in 0u8..3, id: u64, offset in 0u64..1 << 40, flip: prop::sample::Index, bit in 0u8..8,
        ) {
            let compression = [Compression::None, Compression::Lz4, Compression::Zstd(3)][kind as usize];
            let mut sealed = Vec::new();
            seal_block(&raw, compression, id, offset, &mut sealed);
            let handle = Handle { offset, len: sealed.len() as u32 };
            let path = Path::new("t");
            prop_assert_eq!(&open_block(sealed.clone(), id, handle, path).unwrap(), &raw);
            // Misdirected: right bytes, wrong place.
            prop_assert!(open_block(sealed.clone(), id.wrapping_add(1), handle, path).is_err());
            let moved = Handle { offset: offset + 4096, ..handle };
            prop_assert!(open_block(sealed.clone(), id, moved, path).is_err());
            let i = flip.index(sealed.len());
            sealed[i] ^= 1 << bit;
            prop_assert!(open_block(sealed, id, handle, path).is_err());
        }

        #[test]
        fn footer_round_trips_and_every_flip_is_seen(id: u64, flip in 0usize..FOOTER, bit in 0u8..8) {
            let h = |offset| Handle { offset, len: 100 };
            let footer = Footer { top_index: h(0), range_dels: Handle::default(), properties: h(200), table_id: id };
            let mut data = footer.encode();
            let path = Path::new("t");
            prop_assert_eq!(Footer::decode(&data, 1000, path).unwrap(), footer);
            data[flip] ^= 1 << bit;
            prop_assert!(Footer::decode(&data, 1000, path).is_err());
        }
    }

    #[test]
    fn another_version_is_refused_with_both_named() {
        let mut data = Footer::default().encode();
        data[FOOTER - 12] = 7;
        let err = Footer::decode(&data, 1000, Path::new("x.sst")).unwrap_err();
        assert_eq!(err.to_string(), "x.sst has format version 7; this binary reads 1");
    }
}
