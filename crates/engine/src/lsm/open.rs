//! Opens the engine: takes the lock, reads the manifest, opens the table files, and replays the log.

use super::cache::BlockCache;
use super::core::{
    Compactions, Core, Counters, ManifestState, Published, ReadState, Signal, Writer, snapshot_edit,
};
use super::files::{TableFolder, table_number};
use super::items::ItemCache;
use super::manifest::Manifest;
use super::memory::Shares;
use super::memtable::{MemPool, Memtable};
use super::options::Options;
use super::replay::{self, Gathered};
use super::snapshot::Snapshots;
use super::throttle::Throttle;
use super::values::value_number;
use super::version::{Version, VersionEdit};
use crate::log::{ENGINE_STREAM, LogOptions, ReplayOf};
use crate::sync::{ArcSwap, Mutex};
use crate::{Env, Error, Log, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// Folder of the tables, below the engine's.
pub(crate) const TABLES: &str = "tables";
pub(crate) const LOG: &str = "log";

/// Opens or creates the engine in `dir`.
pub(crate) fn open(env: Arc<dyn Env>, dir: &Path, options: Options) -> Result<Core> {
    let options = options.normalized();
    let tables = dir.join(TABLES);
    env.create_dir_all(dir)?;
    let lock = env.lock(dir)?;
    let recovered = Manifest::recover(&*env, dir)?;
    env.create_dir_all(&tables)?;
    env.sync_dir(dir)?;
    let names = env.list(&tables)?;
    let present: BTreeSet<u64> = names.iter().filter_map(|n| table_number(n)).collect();
    let present_values: BTreeSet<u64> = names.iter().filter_map(|n| value_number(n)).collect();

    let shares = Shares::of(&options);
    let cache = Arc::new(BlockCache::new(shares.cache_bytes, options.block_bytes));
    let folder = TableFolder::new(env.clone(), tables.clone(), cache.clone());
    let (mut log_index, mut last_seq, mut next_file, mut manifest_number) = (0, 0, 1, 0);
    let mut version = Version::default();
    match recovered {
        Some(recovered) => {
            manifest_number = recovered.number;
            // Edits are combined by table number first, so a table that was added and removed again is never
            // opened.
            for edit in &recovered.edits {
                version = version.apply(edit, &folder).map_err(|detail| Error::Corrupt {
                    what: "manifest",
                    path: dir.to_path_buf(),
                    offset: 0,
                    detail,
                })?;
                log_index = edit.log_index.unwrap_or(0).max(log_index);
                last_seq = edit.last_seq.unwrap_or(0).max(last_seq);
                next_file = edit.next_file.unwrap_or(0).max(next_file);
            }
        }
        None if present.is_empty() && present_values.is_empty() => {}
        None => {
            return Err(Error::Corrupt {
                what: "manifest",
                path: dir.join("CURRENT"),
                offset: 0,
                detail: "missing beside tables".into(),
            });
        }
    }
    let live: BTreeSet<u64> = version.files().map(|(_, f)| f.meta.number).collect();
    if let Some(missing) = live.difference(&present).next() {
        return Err(Error::Corrupt {
            what: "table",
            path: folder.path(*missing),
            offset: 0,
            detail: "named by the manifest, but there is no such file".into(),
        });
    }
    let live_values: BTreeSet<u64> = version.values.keys().copied().collect();
    if let Some(missing) = live_values.difference(&present_values).next() {
        return Err(Error::Corrupt {
            what: "value file",
            path: folder.values_path(*missing),
            offset: 0,
            detail: "tables refer to it, but there is no such file".into(),
        });
    }
    for last in [present.last(), present_values.last()].into_iter().flatten() {
        next_file = next_file.max(last.saturating_add(1));
    }

    let log_options = LogOptions {
        background: options.background,
        segment_bytes: options.segment_bytes,
        cache_bytes: shares.log_bytes,
        faults: options.log_faults,
        ..LogOptions::default()
    };
    let gather = || Gathered::new(shares.memtable_bytes);
    let of = ReplayOf { stream: ENGINE_STREAM, after: log_index, make: &gather };
    let (log, gathered) = Log::open_and_replay(env.clone(), &dir.join(LOG), log_options, &of)?;
    check_log(&log, log_index, &dir.join(LOG))?;

    let snapshot = snapshot_edit(&version, log_index, last_seq, Some(next_file));
    let mut manifest = Manifest::create(env.clone(), dir, manifest_number + 1, &snapshot)?;
    manifest.skip_sync = options.faults.skip_manifest_sync;
    // Only now, with a fresh manifest, it is certain that nothing refers to them.
    manifest.remove_others()?;
    for orphan in present.difference(&live) {
        env.remove(&folder.path(*orphan))?;
    }
    for orphan in present_values.difference(&live_values) {
        env.remove(&folder.values_path(*orphan))?;
    }

    let pool = MemPool::new(shares.memtable_bytes);
    let state = ReadState {
        active: Arc::new(Memtable::new(0, pool.clone())),
        immutables: Vec::new(),
        version: Arc::new(version),
    };
    state.active.set_log_index(log_index);
    let core = Core {
        dir: dir.to_path_buf(),
        folder,
        items: ItemCache::new(cache.clone(), shares.cache_bytes, options.faults),
        cache,
        log,
        pool,
        state: ArcSwap::from_pointee(state),
        state_lock: Mutex::new(()),
        writer: Mutex::new(Writer { last_seq, last_index: log_index }),
        visible: Published::new(last_seq),
        snapshots: Snapshots::default(),
        manifest: Mutex::new(ManifestState { manifest, log_index, last_seq }),
        next_file: AtomicU64::new(next_file),
        flush_lock: Mutex::new(()),
        compactions: Mutex::new(Compactions::default()),
        flushed_epoch: Published::new(0),
        signal: Signal::default(),
        throttle: Throttle::default(),
        budget: Arc::default(),
        disk_full: AtomicBool::new(false),
        flush_soon: AtomicBool::new(false),
        closed: Arc::default(),
        counters: Counters::default(),
        env,
        options,
        shares,
        _lock: lock,
    };
    replay::replay(&core, log_index, gathered)?;
    core.update_pressure();
    Ok(core)
}

/// The log must reach back to what the tables hold. Otherwise writes are lost, and opening would hide that.
fn check_log(log: &Log, flushed: u64, path: &Path) -> Result<()> {
    let Some(info) = log.stream(ENGINE_STREAM) else { return Ok(()) };
    if info.first > flushed + 1 && info.first <= info.last || info.last > flushed && info.first > info.last {
        return Err(Error::Corrupt {
            what: "log",
            path: path.to_path_buf(),
            offset: 0,
            detail: format!("starts at batch {}, but tables end at batch {flushed}", info.first),
        });
    }
    Ok(())
}

/// Files that a checkpoint links and a manifest that names them: a folder that [`open`] takes.
pub(crate) fn write_checkpoint(core: &Core, to: &Path, version: &Version, edit: &VersionEdit) -> Result<()> {
    let tables: PathBuf = to.join(TABLES);
    core.env.create_dir_all(&tables)?;
    for (_, file) in version.files() {
        let name = super::files::table_name(file.meta.number);
        core.env.link(&core.folder.path(file.meta.number), &tables.join(name))?;
    }
    for &number in version.values.keys() {
        core.env.link(&core.folder.values_path(number), &tables.join(super::values::values_name(number)))?;
    }
    core.env.sync_dir(&tables)?;
    Manifest::create(core.env.clone(), to, 1, edit)?;
    core.env.sync_dir(to)
}
