//! Blocks in their compressed form, as they are in the file. They are decompressed into buffers of the
//! reader, or kept compressed in the cache where memory is scarce.
//!
//! Twice as many compressed blocks fit into the cache. Decompressing one takes about a microsecond, where a
//! read from the device takes fifty.

use super::format::{COMPRESSION_NONE, Handle, check_block, unpack};
use crate::Result;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};

/// A block whose checksum is right, in the buffers of who read it.
pub(super) struct Opened<'a> {
    /// Its contents.
    pub(super) raw: &'a [u8],
    /// How it was compressed, and to what; `None` if it was not.
    packed: Option<(u8, &'a [u8])>,
}

impl Opened<'_> {
    /// The block as the cache keeps it where memory is scarce. `None` if compression does not save a quarter
    /// of it.
    pub(super) fn to_packed(&self) -> Option<PackedBlock> {
        let (kind, body) = self.packed?;
        (body.len() <= self.raw.len() / 4 * 3).then(|| PackedBlock {
            kind,
            body: body.into(),
            asked: AtomicU8::new(0),
        })
    }
}

/// Checks a block read with its trailer and hands its contents to `then`. Compressed ones are unpacked into
/// `scratch`, which only grows.
pub(super) fn with_block<T>(
    sealed: &[u8],
    scratch: &mut Vec<u8>,
    table_id: u64,
    handle: Handle,
    path: &Path,
    then: impl FnOnce(Opened<'_>) -> T,
) -> Result<T> {
    let (kind, body) = check_block(sealed, table_id, handle, path)?;
    if kind == COMPRESSION_NONE {
        return Ok(then(Opened { raw: body, packed: None }));
    }
    let len = unpack(kind, body, scratch, handle, path)?;
    Ok(then(Opened { raw: &scratch[..len], packed: Some((kind, body)) }))
}

/// A block as it lies in its file, its checksum found right.
#[derive(Debug)]
pub(crate) struct PackedBlock {
    kind: u8,
    body: Box<[u8]>,
    asked: AtomicU8,
}

impl PackedBlock {
    /// Memory held, bytes.
    pub(crate) fn weight(&self) -> usize {
        self.body.len() + size_of::<Self>()
    }

    /// Counts a use; how many there were, up to 255.
    pub(super) fn ask(&self) -> u8 {
        // Not exact where two threads ask at once.
        let asked = self.asked.load(Ordering::Relaxed).saturating_add(1);
        self.asked.store(asked, Ordering::Relaxed);
        asked
    }

    /// Unpacks it into `scratch`, which only grows, and hands the contents to `then`.
    pub(super) fn with<T>(
        &self,
        scratch: &mut Vec<u8>,
        handle: Handle,
        path: &Path,
        then: impl FnOnce(&[u8]) -> T,
    ) -> Result<T> {
        let len = unpack(self.kind, &self.body, scratch, handle, path)?;
        Ok(then(&scratch[..len]))
    }
}
