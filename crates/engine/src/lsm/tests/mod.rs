//! The whole engine on the simulated disk.

mod behaviour;
mod cache;
mod crash_images;
mod faults;
pub(crate) mod fuzz;
#[cfg(feature = "shuttle")]
mod interleavings;
mod items;
mod memory;
mod model;
mod threads;
mod tiered;
mod values;

use crate::env::SimEnv;
use crate::lsm::{Background, Engine, Options, WriteBatch};
use crate::{Env, Result};
use std::path::Path;
use std::sync::Arc;

pub(crate) const DIR: &str = "/db";

/// Sizes so small that a few hundred writes go through every level.
pub(crate) fn tiny() -> Options {
    Options {
        background: Background::Manual,
        memtable_bytes: 3 << 10,
        cache_bytes: 8 << 10,
        segment_bytes: 16 << 10,
        table_bytes: 1 << 10,
        block_bytes: 128,
        level_base_bytes: 4 << 10,
        ..Options::default()
    }
}

/// As [`tiny`], with about a quarter of the values that tests write apart from the tree, in value files so
/// small that they are collected often.
pub(crate) fn separating(separate_bytes: usize) -> Options {
    Options { separate_bytes, value_file_bytes: 2 << 10, ..tiny() }
}

pub(crate) fn open(env: &SimEnv, options: Options) -> Result<Engine> {
    let env: Arc<dyn Env> = Arc::new(env.clone());
    Engine::open(env, Path::new(DIR), options)
}

/// Makes the tables larger than a cache of `cache_bytes`, with keys from `~` on: only then are items cached
/// and blocks packed.
pub(crate) fn outgrow(engine: &Engine, cache_bytes: usize) {
    let mut batch = WriteBatch::new();
    for n in 0..=cache_bytes / 1000 {
        batch.put(format!("~{n:01000}").as_bytes(), b"");
    }
    engine.apply(&batch).unwrap();
    engine.flush().unwrap();
}
