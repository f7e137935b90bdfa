//! A value that tasks wait on.
//!
//! It works like tokio's watch channel, with one difference: a change wakes the waiting tasks in the order in
//! which they began to wait. Tokio's channel wakes them in a random order, from a generator that cannot be
//! seeded. A simulation whose tasks wake in another order each time does not repeat.

use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::Notify;

/// A value, and a way to wait for the next. Cheap to clone; clones share the value.
pub struct Signal<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    /// The value and how often it has changed.
    state: Mutex<(T, u64)>,
    changed: Notify,
}

impl<T> Clone for Signal<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<T: Clone> Signal<T> {
    /// Starts with this value.
    pub fn new(value: T) -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::new((value, 0)), changed: Notify::new() }) }
    }

    /// The value now.
    pub fn get(&self) -> T {
        self.shared.state.lock().0.clone()
    }

    /// Replaces the value and wakes everybody.
    pub fn set(&self, value: T) {
        self.modify(|old| {
            *old = value;
            true
        });
    }

    /// Changes the value; wakes everybody if `change` says that it did.
    pub fn modify(&self, change: impl FnOnce(&mut T) -> bool) {
        let mut state = self.shared.state.lock();
        if change(&mut state.0) {
            state.1 += 1;
            drop(state);
            self.shared.changed.notify_waiters();
        }
    }

    /// Follows the value. The present one counts as seen.
    pub fn follow(&self) -> Follower<T> {
        let seen = self.shared.state.lock().1;
        Follower { signal: self.clone(), seen }
    }

    /// Waits until the value is as wanted, and returns it. At once if it is.
    pub async fn wait_for(&self, wanted: impl Fn(&T) -> bool) -> T {
        self.wait(|value, _| wanted(value)).await.0
    }

    async fn wait(&self, wanted: impl Fn(&T, u64) -> bool) -> (T, u64) {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed, also one that comes before the first poll.
            changed.as_mut().enable();
            {
                let state = self.shared.state.lock();
                if wanted(&state.0, state.1) {
                    return state.clone();
                }
            }
            changed.await;
        }
    }
}

/// Sees each change of a [`Signal`] that was not overtaken by a later one.
pub struct Follower<T> {
    signal: Signal<T>,
    seen: u64,
}

impl<T: Clone> Follower<T> {
    /// Waits for a value that was not seen yet. Ending the wait early loses nothing.
    pub async fn next(&mut self) -> T {
        let seen = self.seen;
        let (value, version) = self.signal.wait(|_, version| version != seen).await;
        self.seen = version;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waiters_wake_in_order_and_see_the_newest_value() {
        let signal = Signal::new(0);
        let order = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..20)
            .map(|i| {
                let (signal, order) = (signal.clone(), order.clone());
                tokio::spawn(async move {
                    let seen = signal.wait_for(|value| *value >= 2).await;
                    order.lock().push((i, seen));
                })
            })
            .collect();
        tokio::task::yield_now().await;
        signal.set(1);
        tokio::task::yield_now().await;
        signal.set(2);
        signal.set(3);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock(), (0..20).map(|i| (i, 3)).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_misses_no_last_value() {
        let signal = Signal::new(0);
        let mut follower = signal.follow();
        signal.modify(|value| {
            *value = 7;
            false
        });
        let waited = tokio::time::timeout(std::time::Duration::from_secs(1), follower.next()).await;
        assert!(waited.is_err(), "said to be no change");
        signal.set(8);
        signal.set(9);
        assert_eq!(follower.next().await, 9);
        let waited = tokio::time::timeout(std::time::Duration::from_secs(1), follower.next()).await;
        assert!(waited.is_err(), "9 was seen");
    }
}
