//! Long chains of crashes: run a little, stop at any operation (also of opening, or half way through a sync while others
//! append), cut the power or kill the process, read back, go on from there. Each round starts on what the last one left.

use super::*;
use crate::env::{File, OpenMode};
use parking_lot::Mutex;

type Hook = Box<dyn FnOnce() + Send>;

/// Runs a hook at the start of a write: what other threads do while the log's own is writing.
#[derive(Clone)]
struct Meanwhile {
    env: SimEnv,
    /// Writes still to pass before the hook runs.
    hook: Arc<Mutex<Option<(u64, Hook)>>>,
}

impl Env for Meanwhile {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        Ok(Arc::new(MeanwhileFile { file: self.env.open(path, mode)?, hook: self.hook.clone() }))
    }
    fn create_dir_all(&self, path: &Path) -> Result<()> {
        self.env.create_dir_all(path)
    }
    fn list(&self, path: &Path) -> Result<Vec<PathBuf>> {
        self.env.list(path)
    }
    fn remove(&self, path: &Path) -> Result<()> {
        self.env.remove(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.env.rename(from, to)
    }
    fn sync_dir(&self, path: &Path) -> Result<()> {
        self.env.sync_dir(path)
    }
    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        self.env.link(from, to)
    }
    fn exists(&self, path: &Path) -> Result<bool> {
        self.env.exists(path)
    }
    fn lock(&self, path: &Path) -> Result<Box<dyn Send + Sync>> {
        self.env.lock(path)
    }
}

struct MeanwhileFile {
    file: Arc<dyn File>,
    hook: Arc<Mutex<Option<(u64, Hook)>>>,
}

impl File for MeanwhileFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.file.read_at(offset, buf)
    }
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        let due = {
            let mut hook = self.hook.lock();
            match hook.as_mut() {
                Some((0, _)) => hook.take(),
                Some((writes, _)) => {
                    *writes -= 1;
                    None
                }
                None => None,
            }
        };
        if let Some((_, run)) = due {
            run();
        }
        self.file.write_at(offset, data)
    }
    fn sync(&self) -> Result<()> {
        self.file.sync()
    }
    fn len(&self) -> Result<u64> {
        self.file.len()
    }
    fn allocate(&self, len: u64) -> Result<()> {
        self.file.allocate(len)
    }
}

fn walk(seed: u64, rounds: u64, options: &LogOptions) -> std::result::Result<(), String> {
    let mut env = SimEnv::new(seed);
    env.set_log_writes_durable(seed % 4 == 0);
    let mut work = Workload::new(seed);
    let mut states = vec![Model::default()];
    let mut durable = 0;
    for round in 0..rounds {
        let at = |problem: String| format!("round {round}: {problem}");
        env.capture_images();
        let mut progress = vec![(0, durable)];
        let hook = Arc::new(Mutex::new(None));
        let meanwhile = Meanwhile { env: env.clone(), hook: hook.clone() };
        let log =
            Log::open(Arc::new(meanwhile), &dir(), options.clone()).map_err(|e| at(format!("open: {e}")))?;
        let kept = log.durable_lsn();
        if kept < durable {
            return Err(at(format!("{durable} appends were durable, {kept} were read")));
        }
        let read = contents(&log).map_err(|e| at(format!("read: {e}")))?;
        match states.get(kept as usize) {
            None => return Err(at(format!("{kept} appends were read, {} were made", states.len() - 1))),
            Some(expected) if *expected != read => {
                return Err(at(format!("after {kept} appends\nexpected {expected:?}\nread {read:?}")));
            }
            Some(_) => states.truncate(kept as usize + 1),
        }
        progress.push((env.operations(), kept));
        for _ in 0..work.up_to(8) {
            let mut model = states.last().cloned().unwrap_or_default();
            let records = work.next(&model);
            model.apply(&records);
            states.push(model);
            if work.chance(0.3) {
                // Appended while the log writes what came before.
                let appender = log.clone();
                let append = move || {
                    appender.append(&records).unwrap();
                };
                *hook.lock() = Some((work.up_to(3) - 1, Box::new(append)));
                log.sync_step().map_err(|e| at(format!("sync: {e}")))?;
                if let Some((_, append)) = hook.lock().take() {
                    append();
                }
            } else {
                log.append(&records).map_err(|e| at(format!("append: {e}")))?;
                if work.chance(0.6) {
                    log.sync_step().map_err(|e| at(format!("sync: {e}")))?;
                }
            }
            progress.push((env.operations(), log.durable_lsn()));
        }
        let read = contents(&log).map_err(|e| at(format!("read while open: {e}")))?;
        if states.last() != Some(&read) {
            return Err(at("what is read while open differs from what was appended".to_owned()));
        }
        let mut images = env.take_images();
        if images.is_empty() {
            continue;
        }
        let (operation, image) = images.swap_remove(work.up_to(images.len() as u64) as usize - 1);
        durable = progress.iter().take_while(|p| p.0 <= operation).map(|p| p.1).max().unwrap_or(0);
        env = image;
        if work.chance(0.7) { env.crash(seed ^ operation << 20) } else { env.kill() }
    }
    Ok(())
}

#[test]
fn chains_of_crashes_leave_states_that_were() {
    for seed in 0..150 {
        walk(seed, 30, &options()).unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
    }
}

/// Minutes of the same; run by hand after a change of the format or of recovery.
#[test]
#[ignore = "long"]
fn ten_thousand_chains_of_crashes_leave_states_that_were() {
    for seed in 10_000..20_000 {
        walk(seed, 40, &options()).unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
    }
}

#[test]
fn planted_bugs_are_found() {
    let planted = [
        LogFaults { skip_sync: true, ..LogFaults::default() },
        LogFaults { wrong_recycle_generation: true, ..LogFaults::default() },
    ];
    for faults in planted {
        let options = LogOptions { faults, ..options() };
        assert!((0..5).all(|seed| walk(seed * 4 + 1, 30, &options).is_err()), "{faults:?} must show");
    }
}
