//! The engine's own threads: one flushes, the others compact and remove files.

use super::core::Core;
use crate::sync::Mutex;
use crate::sync::thread::{self, JoinHandle};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Pause after a failed flush or compaction before it is tried again.
const RETRY: Duration = Duration::from_millis(250);
/// Without a flush for so long, compactions that waited for more no longer do.
const IDLE: Duration = Duration::from_millis(500);

/// The scheduling priority of compaction threads: they get about a third of a normal share.
#[cfg(target_os = "linux")]
const COMPACTION_NICENESS: i32 = 5;

/// The running threads; stopped when dropped.
pub(crate) struct Threads {
    core: Arc<Core>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl Threads {
    /// Starts them. With `compactors == 0` there are none, for `Background::Manual`.
    pub(crate) fn start(core: Arc<Core>, compactors: usize) -> std::io::Result<Self> {
        let threads = Self { core, handles: Mutex::default() };
        if compactors > 0 {
            threads.spawn("torc-flush", |core, _| core.flush_step(), true)?;
            for n in 0..compactors {
                let name = format!("torc-compact-{n}");
                threads.spawn(&name, Core::compact_step, false)?;
            }
        }
        Ok(threads)
    }

    fn spawn(
        &self,
        name: &str,
        step: fn(&Core, busy: bool) -> crate::Result<bool>,
        is_flush: bool,
    ) -> std::io::Result<()> {
        let core = self.core.clone();
        let run = move || {
            if !is_flush {
                yield_to_others();
            }
            let mut busy = true;
            loop {
                let seen = core.signal.generation();
                if core.closed.load(Ordering::Acquire) {
                    return;
                }
                match step(&core, busy) {
                    Ok(true) => busy = true,
                    // Nothing to do while busy: again when something has changed, or when nothing has for a
                    // while.
                    Ok(false) => {
                        let patience = (busy && !is_flush).then_some(IDLE);
                        busy = core.signal.wait(seen, patience);
                    }
                    Err(_) if core.closed.load(Ordering::Acquire) => return,
                    Err(e) => {
                        let work = if is_flush { "flush" } else { "compaction" };
                        tracing::error!(error = %e, work, "background work failed; trying again");
                        // Our own notification has raised the generation; wait for the time, not for a
                        // change.
                        core.signal.wait(core.signal.generation(), Some(RETRY));
                        busy = true;
                    }
                }
            }
        };
        self.handles.lock().push(thread::Builder::new().name(name.to_string()).spawn(run)?);
        Ok(())
    }

    /// Stops and joins. Work in progress is finished first.
    pub(crate) fn stop(&self) {
        self.core.closed.store(true, Ordering::Release);
        self.core.signal.notify();
        let me = thread::current().id();
        for handle in self.handles.lock().drain(..) {
            if handle.thread().id() != me {
                // A panic in the thread has been reported by the panic hook.
                let _ = handle.join();
            }
        }
    }
}

/// Lowers the calling thread's priority, so that readers, writers and flushes run first.
fn yield_to_others() {
    // On Linux this is the calling thread's own. Refused at worst, and then compaction only takes its turn.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(COMPACTION_NICENESS);
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop();
    }
}
