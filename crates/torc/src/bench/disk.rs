//! The limit of the disk itself: the latency of synced 4 KiB writes, one after another.

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use rustix::fs::OFlags;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

const BLOCK_BYTES: usize = 4096;
const FILE_BLOCKS: u64 = 1024;
/// Enough for a p99.
const MAX_WRITES: u64 = 2000;

/// Latency of synced 4 KiB writes into space that is already allocated, in microseconds.
#[derive(Clone, Debug, Serialize)]
pub struct DiskLatency {
    /// A write, then `fdatasync`.
    pub fdatasync: SyncLatency,
    /// A write to a file opened with `O_DIRECT | O_DSYNC`; without `O_DIRECT` where the file system refuses
    /// it.
    pub o_dsync: SyncLatency,
}

/// Percentiles of one way to sync, in microseconds.
#[derive(Clone, Debug, Serialize)]
pub struct SyncLatency {
    /// Writes measured.
    pub count: u64,
    /// Median.
    pub p50_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
    /// The slowest.
    pub max_us: u64,
}

/// Measures in a file of its own in `folder`, removed afterwards, for at most `budget` in all.
pub fn measure(folder: &Path, budget: Duration) -> Result<DiskLatency> {
    let path = folder.join(format!(".torc-bench-{}", std::process::id()));
    let outcome = measure_file(&path, budget / 2);
    // Also after a failure, whose cause is what the caller wants to see.
    let _ = std::fs::remove_file(&path);
    outcome.with_context(|| format!("cannot measure the disk in {}", folder.display()))
}

fn measure_file(path: &Path, budget: Duration) -> Result<DiskLatency> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    for block in 0..FILE_BLOCKS {
        file.write_all_at(&[0x5a; BLOCK_BYTES], block * BLOCK_BYTES as u64)?;
    }
    file.sync_all()?;
    let fdatasync = series(&file, budget, |file| file.sync_data())?;
    let open = |flags: OFlags| -> Result<File> {
        let flags = i32::try_from(flags.bits())?;
        Ok(OpenOptions::new().write(true).custom_flags(flags).open(path)?)
    };
    let synced = open(OFlags::DSYNC | OFlags::DIRECT).or_else(|_| open(OFlags::DSYNC))?;
    let o_dsync = series(&synced, budget, |_| Ok(()))?;
    Ok(DiskLatency { fdatasync, o_dsync })
}

fn series(file: &File, budget: Duration, sync: impl Fn(&File) -> std::io::Result<()>) -> Result<SyncLatency> {
    let mut latency = Histogram::<u64>::new(3)?;
    // Direct writes want their memory aligned as well.
    let mut memory = vec![0u8; 2 * BLOCK_BYTES];
    let aligned = memory.as_ptr().align_offset(BLOCK_BYTES);
    let block = memory.get_mut(aligned..aligned + BLOCK_BYTES).context("no aligned memory")?;
    let began = Instant::now();
    for turn in 0..MAX_WRITES {
        block.fill(turn as u8);
        let start = Instant::now();
        file.write_all_at(block, (turn % FILE_BLOCKS) * BLOCK_BYTES as u64)?;
        sync(file)?;
        latency.record(u64::try_from(start.elapsed().as_micros())?.max(1))?;
        if began.elapsed() > budget {
            break;
        }
    }
    Ok(SyncLatency {
        count: latency.len(),
        p50_us: latency.value_at_quantile(0.5),
        p99_us: latency.value_at_quantile(0.99),
        max_us: latency.max(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let latency = measure(folder.path(), Duration::from_millis(200)).unwrap();
        for way in [&latency.fdatasync, &latency.o_dsync] {
            assert!(
                way.count > 0 && 0 < way.p50_us && way.p50_us <= way.p99_us && way.p99_us <= way.max_us,
                "{way:?}"
            );
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = measure(Path::new("/nonexistent/folder"), Duration::from_millis(10)).unwrap_err();
        assert!(format!("{error:#}").contains("/nonexistent/folder"), "{error:#}");
    }
}
