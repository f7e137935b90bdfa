//! An index partition in memory: the separators of some data blocks and where the blocks are.

use super::block::Block;
use super::cursor::BlockCursor;
use super::format::Handle;
use crate::lsm::codec::Reader;
use crate::lsm::sorted_keys::SortedKeys;

/// See the module's comment.
#[derive(Debug)]
pub(crate) struct IndexPartition {
    /// A key at or above the last of each block and below the first of the next (or equal to both, if a key's
    /// versions run on).
    separators: SortedKeys,
    handles: Vec<Handle>,
}

impl IndexPartition {
    /// Unpacks an index block of a table whose blocks lie in its first `limit` bytes. `None` if it is
    /// malformed.
    pub(crate) fn parse(block: Block, limit: u64) -> Option<Self> {
        let mut cursor = BlockCursor::new(block);
        let (mut keys, mut handles): (Vec<Vec<u8>>, _) = (Vec::new(), Vec::new());
        cursor.first().ok()?;
        while cursor.valid() {
            let handle = Handle::decode(&mut Reader::new(cursor.value())).filter(|h| h.fits(limit))?;
            if keys.last().is_some_and(|last| last[..] > *cursor.key()) {
                return None;
            }
            keys.push(cursor.key().to_vec());
            handles.push(handle);
            cursor.next().ok()?;
        }
        Some(Self { separators: SortedKeys::new(keys.iter().map(Vec::as_slice)), handles })
    }

    pub(crate) fn len(&self) -> usize {
        self.handles.len()
    }

    /// Number of the first block whose separator is `>= key`: the only one where a search for `key` can
    /// begin.
    #[inline]
    pub(crate) fn find(&self, key: &[u8]) -> usize {
        self.separators.lower_bound(key)
    }

    #[inline]
    pub(crate) fn separator(&self, i: usize) -> &[u8] {
        self.separators.get(i)
    }

    #[inline]
    pub(crate) fn handle(&self, i: usize) -> Handle {
        self.handles[i]
    }

    /// Memory held, bytes.
    pub(crate) fn weight(&self) -> usize {
        self.separators.weight() + self.handles.len() * size_of::<Handle>() + size_of::<Self>()
    }
}
