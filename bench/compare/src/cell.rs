//! One cell of the table: one engine, one workload, in a process of its own, so that memory and processor time are its own.

use crate::data::{KEY_BYTES, Values};
use crate::measure::{Moment, Spent, resident, space};
use crate::stores::{Settings, Store, Visitor};
use crate::workload::{self, Memory, Size, Start, Workload};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What a child is told to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    pub engine: String,
    /// A workload's name, or `load`.
    pub workload: String,
    pub value_bytes: usize,
    pub keys: u64,
    pub passes: u64,
    pub seconds: f64,
    pub cache_bytes: usize,
    pub tight: bool,
    pub dir: PathBuf,
    /// Memory limit of the process with its page cache, bytes; 0 for none.
    pub limit_bytes: u64,
}

/// What came of it: one line of the results file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Row {
    pub engine: String,
    pub workload: String,
    pub value_bytes: usize,
    pub keys: u64,
    pub ops: u64,
    /// Of the operations, without settling.
    pub ops_per_s: f64,
    /// Of the whole measured part; for writes that put work off, settling included.
    pub spent: Spent,
    /// The part of it spent settling, seconds.
    pub settle_s: f64,
    pub user_bytes: u64,
    /// Device space of data and of the log at the end, bytes.
    pub data_bytes: u64,
    pub log_bytes: u64,
    /// Bytes of keys and values that are alive at the end, where the workload knows.
    pub live_bytes: u64,
    pub rss: u64,
    pub peak_rss: u64,
    pub p50_ns: u64,
    pub p99_ns: u64,
    pub p999_ns: u64,
    pub max_ns: u64,
    /// Set if the cell could not be run: why.
    pub failed: Option<String>,
    pub extra: BTreeMap<String, f64>,
}

/// Runs the task in this process.
pub fn run(task: Task) -> Result<Row> {
    let _limit = (task.limit_bytes > 0).then(|| Limit::enter(task.limit_bytes)).transpose()?;
    let engine = task.engine.clone();
    crate::stores::with(&engine, Cell(task))
}

struct Cell(Task);

impl Visitor for Cell {
    type Output = Row;

    fn visit<S: Store>(self) -> Result<Row> {
        let task = self.0;
        let values = Values::new(task.value_bytes);
        let settings = Settings { cache_bytes: task.cache_bytes, tight: task.tight };
        let mut row = Row {
            engine: task.engine.clone(),
            workload: task.workload.clone(),
            value_bytes: task.value_bytes,
            keys: task.keys,
            ..Row::default()
        };
        if task.workload == "load" {
            let moment = Moment::now()?;
            let store = S::open(&task.dir, settings)?;
            workload::load(&store, &values, task.keys)?;
            store.settle()?;
            row.spent = moment.spent()?;
            store.close()?;
            return Ok(row);
        }
        let w = workload::named(&task.workload)?;
        if w.memory == Memory::Limited {
            evict(&task.dir)?;
        }
        let opening = Instant::now();
        let store = S::open(&task.dir, settings)?;
        row.extra.insert("open_ms".into(), opening.elapsed().as_secs_f64() * 1e3);
        if w.warms() {
            workload::warm(&store, &values, task.keys)?;
        }
        let sizes = || space(&task.dir, &|f| S::is_log(f));
        let size = Size { keys: task.keys, passes: task.passes, seconds: task.seconds };
        let moment = Moment::now()?;
        let mut out = workload::run(w, &store, &values, size, &|| sizes().1)?;
        let moment = out.since.take().unwrap_or(moment);
        let writing = moment.spent()?.seconds;
        if w.settles() {
            store.settle()?;
        }
        row.spent = moment.spent()?;
        row.settle_s = row.spent.seconds - writing;
        row.ops = out.ops;
        row.ops_per_s = out.ops as f64 / out.seconds;
        row.user_bytes = out.user_bytes;
        (row.log_bytes, row.data_bytes) = sizes();
        if w.settles() {
            row.live_bytes = task.keys * (KEY_BYTES + task.value_bytes) as u64;
        }
        (row.rss, row.peak_rss) = resident()?;
        let h = &out.latencies;
        row.p50_ns = h.quantile(0.5);
        row.p99_ns = h.quantile(0.99);
        row.p999_ns = h.quantile(0.999);
        row.max_ns = h.max();
        row.extra.extend(out.extra.into_iter().map(|(k, v)| (k.to_string(), v)));
        row.extra.extend(store.extra().into_iter().map(|(k, v)| (k.to_string(), v)));
        store.close()?;
        Ok(row)
    }
}

/// Whether a workload needs the folder of `load`.
pub fn needs_load(w: Workload) -> bool {
    w.start != Start::Empty
}

/// Asks the system to forget the pages of a folder's files: a limit counts only pages that come in under it.
fn evict(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            evict(&path)?;
        } else {
            let file = fs::File::open(&path)?;
            file.sync_all()?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
    }
    Ok(())
}

/// A memory cgroup of its own, left and removed when dropped.
struct Limit {
    group: PathBuf,
    home: PathBuf,
}

/// Root of the memory controller, version 1 or 2.
const V1: &str = "/sys/fs/cgroup/memory";
const V2: &str = "/sys/fs/cgroup";

impl Limit {
    fn enter(bytes: u64) -> Result<Self> {
        let v1 = Path::new(V1).is_dir();
        let root = Path::new(if v1 { V1 } else { V2 });
        let group = root.join(format!("torc-compare-{}", std::process::id()));
        fs::create_dir(&group).with_context(|| format!("create the cgroup {}", group.display()))?;
        let limit = Self { home: root.to_path_buf(), group };
        let file = if v1 { "memory.limit_in_bytes" } else { "memory.max" };
        let write = |name: &str, text: String| {
            let path = limit.group.join(name);
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))
        };
        write(file, bytes.to_string())?;
        write("cgroup.procs", std::process::id().to_string())?;
        Ok(limit)
    }

    /// Whether this process may make and use one.
    fn possible() -> bool {
        Self::enter(1 << 30).is_ok()
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        let _ = fs::write(self.home.join("cgroup.procs"), std::process::id().to_string());
        let _ = fs::remove_dir(&self.group);
    }
}

/// Whether memory-limited cells can run here.
pub fn can_limit() -> bool {
    Limit::possible()
}
