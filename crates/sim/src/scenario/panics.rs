//! Every panic on the thread of a run fails the run. A panic ends only its own task, and a cluster may
//! recover from that, but it is a bug all the same.

use anyhow::bail;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static FIRST: RefCell<Option<String>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// Runs something on this thread; any panic in it, its tasks included, becomes an error.
///
/// # Errors
/// It failed, or something in it panicked.
pub fn caught<T>(run: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |info| {
            FIRST.with_borrow_mut(|first| {
                first.get_or_insert_with(|| info.to_string());
            });
            usual(info);
        }));
    });
    FIRST.set(None);
    let outcome = catch_unwind(AssertUnwindSafe(run));
    if let Some(panic) = FIRST.take() {
        bail!("panic: {panic}");
    }
    match outcome {
        Ok(outcome) => outcome,
        Err(_) => bail!("panic"),
    }
}
