//! Limits of sizes on a simulated node. They are small, so that minutes of work reach states that take days
//! elsewhere. They are drawn from the seed, so that different seeds reach different states.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use torc_engine::log::LogFaults;
use torc_engine::{Background, Options};
use torc_replica::store::Limits;

/// The sizes of one world.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// Of the engines.
    pub engine: Options,
    /// Of the consensus stores.
    pub limits: Limits,
}

impl Sizes {
    /// Draws sizes.
    pub fn draw(rng: &mut ChaCha8Rng, log_faults: LogFaults) -> Self {
        let engine = Options {
            background: Background::Manual,
            memtable_bytes: rng.random_range(4..=64) << 10,
            cache_bytes: rng.random_range(8..=256) << 10,
            segment_bytes: rng.random_range(16..=128) << 10,
            table_bytes: rng.random_range(2..=32) << 10,
            block_bytes: rng.random_range(256..=4096),
            level_base_bytes: rng.random_range(8..=64) << 10,
            log_faults,
            ..Options::default()
        };
        let limits = Limits {
            keep_entries: rng.random_range(1..=64),
            truncate_step: rng.random_range(1..=32),
            max_lag_entries: rng.random_range(16..=256),
            hold_absent_ms: rng.random_range(200..=4_000),
            snapshot_chunk_bytes: rng.random_range(64..=1024),
            snapshot_window: rng.random_range(1..=4),
            snapshot_senders: rng.random_range(1..=2),
            entry_bytes: rng.random_range(128..=4096),
            ..Limits::default()
        };
        Self { engine, limits }
    }
}
