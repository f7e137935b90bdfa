//! Where a memtable shard keeps its keys and values: an append-only list of chunks, addressed by a 32-bit
//! position. A full chunk never changes again. When a shard splits, both halves share its full chunks and
//! nothing is copied.

use super::pool::MemPool;
use bytes::Bytes;
use std::sync::Arc;

/// Ordinary chunk size; a larger record gets a chunk of its own. Positions hold the offset in 16 bits.
pub(super) const CHUNK: usize = 1 << 16;
/// Values from this size on are kept as [`Bytes`] of their own, so that a read hands them out without
/// copying.
const LARGE: usize = 2048;
/// Key length, value length.
const HEADER: usize = 8;
/// Marks a value length that counts in `large`.
const LARGE_FLAG: u32 = 1 << 31;

/// Position of a record.
pub(super) type Pos = u32;

/// See the module's comment.
#[derive(Debug, Default, Clone)]
pub(super) struct Arena {
    sealed: Vec<Bytes>,
    open: Vec<u8>,
    large: Vec<Bytes>,
    /// Where chunks come from and go to; `None`: the allocator.
    pool: Option<Arc<MemPool>>,
}

impl Arena {
    pub(super) fn new(pool: Arc<MemPool>) -> Self {
        Self { pool: Some(pool), ..Self::default() }
    }

    /// From now on chunks come from `pool`.
    pub(super) fn set_pool(&mut self, pool: Arc<MemPool>) {
        self.pool = Some(pool);
    }

    /// Appends a record; `None` when the arena's 65 536 chunks are used up.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> Option<Pos> {
        let large = Self::is_large(value);
        let need = HEADER + key.len() + if large { 0 } else { value.len() };
        if self.open.len() + need > self.open.capacity() || self.open.len() >= CHUNK {
            self.seal();
            self.open = match &self.pool {
                Some(pool) if need <= CHUNK => pool.chunk(),
                _ => Vec::with_capacity(need.max(CHUNK)),
            };
        }
        let chunk = u32::try_from(self.sealed.len()).ok().filter(|&c| c < 1 << 16)?;
        let pos = (chunk << 16) | self.open.len() as u32;
        let klen = u32::try_from(key.len()).ok()?;
        let vlen = if large {
            self.large.push(Bytes::copy_from_slice(value));
            u32::try_from(self.large.len() - 1).ok()? | LARGE_FLAG
        } else {
            value.len() as u32
        };
        self.open.extend_from_slice(&klen.to_le_bytes());
        self.open.extend_from_slice(&vlen.to_le_bytes());
        self.open.extend_from_slice(key);
        if !large {
            self.open.extend_from_slice(value);
        }
        Some(pos)
    }

    /// Whether a value of this length is kept outside the chunks.
    pub(super) fn is_large(value: &[u8]) -> bool {
        value.len() >= LARGE
    }

    /// Takes over the chunks of `other`, whose records with large values are given, and says how many chunks
    /// lie before them.
    pub(super) fn absorb(&mut self, mut other: Self, large: &[Pos]) -> u32 {
        self.seal();
        other.seal();
        let (chunks, values) = (self.sealed.len() as u32, self.large.len() as u32);
        if values > 0 {
            for pos in large {
                let (chunk, at) = ((pos >> 16) as usize, (pos & 0xffff) as usize);
                let bytes = std::mem::take(&mut other.sealed[chunk]);
                // Nobody else has it yet, so that nothing is copied.
                let mut bytes = bytes.try_into_mut().unwrap_or_else(|shared| (&shared[..]).into());
                let field = &mut bytes[at + 4..at + HEADER];
                let word = u32::from_le_bytes(field.try_into().expect("four bytes"));
                field.copy_from_slice(&(word + values).to_le_bytes());
                other.sealed[chunk] = bytes.freeze();
            }
        }
        self.sealed.append(&mut other.sealed);
        self.large.append(&mut other.large);
        chunks
    }

    /// Closes the open chunk: what a split does before both halves clone the arena.
    pub(super) fn seal(&mut self) {
        if !self.open.is_empty() {
            let chunk = std::mem::take(&mut self.open);
            self.sealed.push(match &self.pool {
                Some(pool) => pool.seal(chunk),
                None => Bytes::from(chunk),
            });
        }
    }

    #[inline]
    fn record(&self, pos: Pos) -> &[u8] {
        let (chunk, at) = ((pos >> 16) as usize, (pos & 0xffff) as usize);
        match self.sealed.get(chunk) {
            Some(sealed) => &sealed[at..],
            None => &self.open[at..],
        }
    }

    #[inline]
    fn lengths(record: &[u8]) -> (usize, u32) {
        let word = u64::from_le_bytes(record[..HEADER].try_into().expect("eight bytes"));
        (word as u32 as usize, (word >> 32) as u32)
    }

    #[inline]
    pub(super) fn key(&self, pos: Pos) -> &[u8] {
        let record = self.record(pos);
        let (klen, _) = Self::lengths(record);
        &record[HEADER..HEADER + klen]
    }

    /// Key and value, the value borrowed.
    #[inline]
    pub(super) fn entry(&self, pos: Pos) -> (&[u8], Value<'_>) {
        let record = self.record(pos);
        let (klen, vlen) = Self::lengths(record);
        let (key, rest) = record[HEADER..].split_at(klen);
        let value = if vlen & LARGE_FLAG != 0 {
            Value::Large(&self.large[(vlen ^ LARGE_FLAG) as usize])
        } else {
            Value::Small(&rest[..vlen as usize])
        };
        (key, value)
    }
}

/// A value in the arena.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Small(&'a [u8]),
    Large(&'a Bytes),
}

impl Value<'_> {
    /// An owned copy: of the bytes if small, of the handle if large.
    pub(super) fn to_bytes(self) -> Bytes {
        match self {
            Value::Small(v) => Bytes::copy_from_slice(v),
            Value::Large(v) => v.clone(),
        }
    }
}
