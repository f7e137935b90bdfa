//! Keeps the memory of dropped memtables for the next ones.
//!
//! Returning the memory to the allocator costs the dropping thread tens of milliseconds. Meanwhile writers
//! wait for the allocator's lock, and afterwards for the kernel to clear the same pages again.

use super::arena::CHUNK;
use super::leaf::Leaf;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use bytes::Bytes;
use std::sync::Arc;

/// See the module's comment.
#[derive(Debug, Default)]
pub(crate) struct MemPool {
    /// Empty, with the capacity of a chunk.
    chunks: Mutex<Vec<Vec<u8>>>,
    /// With old contents.
    #[allow(clippy::vec_box)]
    leaves: Mutex<Vec<Box<Leaf>>>,
    /// The most memory that is kept, bytes.
    limit: usize,
    held: AtomicUsize,
}

impl MemPool {
    /// A pool that keeps up to `limit` bytes.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, ..Self::default() })
    }

    /// Bytes kept now.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether there is room for so many bytes, which then count as kept.
    fn reserve(&self, bytes: usize) -> bool {
        let add = |held: usize| held.checked_add(bytes).filter(|&sum| sum <= self.limit);
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    fn taken(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// An empty chunk.
    pub(super) fn chunk(&self) -> Vec<u8> {
        let kept = self.chunks.lock().pop();
        match kept {
            Some(chunk) => {
                self.taken(CHUNK);
                chunk
            }
            None => Vec::with_capacity(CHUNK),
        }
    }

    /// Closes a chunk; its memory comes back when the last reader is done with it.
    pub(super) fn seal(self: &Arc<Self>, chunk: Vec<u8>) -> Bytes {
        Bytes::from_owner(Sealed { chunk, pool: self.clone() })
    }

    /// An empty leaf.
    pub(super) fn leaf(&self) -> Box<Leaf> {
        let kept = self.leaves.lock().pop();
        match kept {
            Some(mut leaf) => {
                self.taken(size_of::<Leaf>());
                leaf.clear();
                leaf
            }
            None => Leaf::empty(),
        }
    }

    /// Takes leaves back.
    #[allow(clippy::vec_box)]
    pub(super) fn put_leaves(&self, mut leaves: Vec<Box<Leaf>>) {
        if self.reserve(leaves.len() * size_of::<Leaf>()) {
            self.leaves.lock().append(&mut leaves);
        }
    }
}

/// The bytes of a closed chunk.
struct Sealed {
    chunk: Vec<u8>,
    pool: Arc<MemPool>,
}

impl AsRef<[u8]> for Sealed {
    fn as_ref(&self) -> &[u8] {
        &self.chunk
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        let mut chunk = std::mem::take(&mut self.chunk);
        if chunk.capacity() == CHUNK && self.pool.reserve(CHUNK) {
            chunk.clear();
            self.pool.chunks.lock().push(chunk);
        }
    }
}
