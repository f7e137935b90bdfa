//! Aligns data blocks with the pages of the device. A block that lies across two pages costs a read of both
//! pages, and memory for both in the system's page cache. So a block is closed where its compressed form ends
//! with a page.
//!
//! The format does not depend on this. A table is read through its handles, and the bytes between two blocks
//! are covered by the file's checksum.

/// What devices and page caches read at least, bytes.
const PAGE: usize = 4096;
/// Most that is left empty before a page's end, bytes.
const MAX_GAP: usize = 640;
/// Room kept for a block that packs worse than those before it: bytes, and a share of the page.
const SLACK: usize = 32;
const SLACK_SHARE: usize = 128;
/// Ratios are in units of one so many-th.
const UNIT: usize = 1024;

/// Decides where blocks end.
#[derive(Debug)]
pub(crate) struct PageFit {
    /// Size of a block before packing, bytes.
    block_bytes: usize,
    /// How well the last blocks packed.
    ratio: usize,
}

impl PageFit {
    pub(crate) fn new(block_bytes: usize) -> Self {
        Self { block_bytes, ratio: UNIT }
    }

    /// A block of `raw` bytes takes `stored` in the file.
    pub(crate) fn packed(&mut self, raw: usize, stored: usize) {
        let ratio = (stored * UNIT).div_ceil(raw.max(1)).min(2 * UNIT);
        // The latest counts for a quarter.
        self.ratio = (3 * self.ratio + ratio).div_ceil(4);
    }

    fn estimate(&self, raw: usize) -> usize {
        (raw * self.ratio).div_ceil(UNIT) + SLACK
    }

    /// Whether a block that will lie at `offset` and has `raw` bytes should be closed, the last entry having
    /// taken `entry` of them.
    #[inline]
    pub(crate) fn is_full(&self, offset: u64, raw: usize, entry: usize) -> bool {
        let least = self.block_bytes / 2;
        if raw < least {
            return false;
        }
        let left = PAGE - (offset % PAGE as u64) as usize;
        let room = if left <= MAX_GAP { PAGE } else { left };
        let room = room - room / SLACK_SHARE;
        let fits = self.estimate(raw) <= room;
        if fits && self.estimate(raw + entry) > room {
            return true;
        }
        if raw < self.block_bytes {
            return false;
        }
        // What stays of the page is too little for another block: this one may have it.
        let rest = room.saturating_sub(self.estimate(raw));
        let grows = fits && rest < self.estimate(least) && raw < self.block_bytes * 3 / 2;
        !grows
    }

    /// Bytes to leave empty before a block of `len` at `offset`.
    pub(crate) fn gap(offset: u64, len: usize) -> usize {
        let at = (offset % PAGE as u64) as usize;
        let left = PAGE - at;
        let crosses = (at + len).div_ceil(PAGE) > len.div_ceil(PAGE);
        if at > 0 && left <= MAX_GAP && crosses { left } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries of `entry` bytes that pack to `percent`, in blocks of 4 KiB: the share of blocks that touch a
    /// page more than they must, in percent, the share of the file left empty, and the mean size of a block
    /// before packing.
    fn lay_out(entry: usize, percent: usize) -> (usize, usize, usize) {
        let mut fit = PageFit::new(4096);
        let (mut offset, mut raw) = (0u64, 0);
        let (mut blocks, mut crossing, mut empty, mut total) = (0, 0, 0, 0);
        for n in 0..100_000usize {
            raw += entry;
            if fit.is_full(offset, raw, entry) {
                // Off by up to two percent.
                let len = raw * (percent * 100 + n * 7 % 400 - 200) / 10_000 + 9;
                let gap = PageFit::gap(offset, len);
                empty += gap;
                offset += gap as u64;
                blocks += 1;
                crossing += usize::from((offset as usize % PAGE + len).div_ceil(PAGE) > len.div_ceil(PAGE));
                total += raw;
                fit.packed(raw, len);
                offset += len as u64;
                raw = 0;
            }
        }
        (crossing * 100 / blocks, empty * 100 / offset as usize, total / blocks)
    }

    #[test]
    fn blocks_keep_to_pages() {
        for (entry, percent, crossing, empty, least) in [
            (120, 55, 5, 5, 3000),
            (120, 100, 5, 5, 3500),
            (1044, 52, 5, 10, 3000),
            (30, 30, 25, 3, 3500),
            (300, 80, 5, 8, 4000),
            (16_404, 52, 5, 2, 16_000),
        ] {
            let got = lay_out(entry, percent);
            let what = format!("{entry} bytes at {percent} %: {got:?}");
            assert!(got.0 <= crossing && got.1 <= empty && got.2 >= least, "{what}");
        }
    }
}
