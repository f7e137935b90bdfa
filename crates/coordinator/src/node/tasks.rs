//! The tasks of one node, kept together so that all end together: on shutdown, or when the simulation crashes
//! the node.

use parking_lot::Mutex;
use std::future::Future;
use tokio::task::AbortHandle;

/// Spawned tasks of one node. Dropping it does not stop them; [`Tasks::abort_all`] does.
#[derive(Default)]
pub struct Tasks {
    handles: Mutex<TaskList>,
}

#[derive(Default)]
struct TaskList {
    handles: Vec<AbortHandle>,
    closed: bool,
}

impl Tasks {
    /// Runs a future until it ends or the node stops. After [`Tasks::abort_all`] the future is dropped unrun.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let mut list = self.handles.lock();
        if list.closed {
            return;
        }
        // Short-lived tasks (one per request served) would pile up otherwise; doubling keeps the sweep
        // amortised.
        if list.handles.len() >= 64 && list.handles.len().is_power_of_two() {
            list.handles.retain(|h| !h.is_finished());
        }
        let handle = tokio::spawn(future).abort_handle();
        list.handles.push(handle);
    }

    /// Stops every task at its next await and refuses new ones.
    pub fn abort_all(&self) {
        let mut list = self.handles.lock();
        list.closed = true;
        for handle in list.handles.drain(..) {
            handle.abort();
        }
    }
}
