//! Settings and counters of the log.

use crate::Background;
use crate::log::format::{BLOCK, align};

/// Size of a log's first segment, unless all are smaller, bytes.
const FIRST_BYTES: u64 = 4 << 20;

/// Settings. The default suits a laptop.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Who writes and syncs: the log's own threads, or the caller through [`super::Log::sync_step`].
    pub background: Background,
    /// Size of a segment file, bytes; rounded to 4 KiB and held within 16 KiB and 1 GiB. The first ones of a
    /// log are smaller.
    pub segment_bytes: u64,
    /// Encoded appends kept in memory for reading, bytes. What is not yet durable is kept on top of this.
    pub cache_bytes: usize,
    /// Empty segments kept for reuse; more are deleted.
    pub spare_segments: usize,
    /// A random number mixed into the checksums of segments written from now on, so that nobody can craft a
    /// payload that passes for a part of the log. Zero is as good where payloads are trusted.
    pub salt: u64,
    /// Planted bugs for tests that must find them. All off by default.
    pub faults: LogFaults,
}

/// Bugs that a test can plant to prove that crash exploration finds them.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogFaults {
    /// Reports writes durable without syncing them.
    pub skip_sync: bool,
    /// Writes every batch with the same generation and trusts what it finds, so that a recycled segment's old
    /// bytes are replayed.
    pub wrong_recycle_generation: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            background: Background::Threads,
            segment_bytes: 64 << 20,
            cache_bytes: 32 << 20,
            spare_segments: 4,
            salt: 0,
            faults: LogFaults::default(),
        }
    }
}

impl LogOptions {
    pub(super) fn segment_bytes(&self) -> u64 {
        align(self.segment_bytes.clamp(16 << 10, 1 << 30))
    }

    /// Size of the first segment, bytes: a small database should not take much room on the disk.
    pub(super) fn first_bytes(&self) -> u64 {
        self.segment_bytes().min(FIRST_BYTES)
    }

    /// End of each segment that only appends without entries may use: on a full disk, the truncations that
    /// make room must still find some.
    pub(super) fn reserve_bytes(&self) -> u64 {
        (self.segment_bytes() / 16).clamp(BLOCK, 256 << 10) / BLOCK * BLOCK
    }
}

/// Counters since opening, and sizes now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogMetrics {
    /// Appends.
    pub appends: u64,
    /// Records in them.
    pub records: u64,
    /// Batches made durable: `appends / syncs` is the mean size of a group.
    pub syncs: u64,
    /// Appends made durable.
    pub synced_appends: u64,
    /// Bytes written to segments, headers and padding included.
    pub bytes_written: u64,
    /// Bytes of encoded appends.
    pub bytes_appended: u64,
    /// Segment files created.
    pub segments_created: u64,
    /// Segments taken into use again.
    pub segments_recycled: u64,
    /// Segments that hold entries, or are being written.
    pub segments: u64,
    /// Empty segments kept for reuse.
    pub spare_segments: u64,
    /// Encoded appends not yet durable, bytes. The log sets no bound: the layer above slows down.
    pub pending_bytes: u64,
    /// Encoded appends held in memory, bytes.
    pub cached_bytes: u64,
}
