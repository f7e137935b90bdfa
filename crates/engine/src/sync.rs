//! The locks, atomics and threads through which the engine and the log share state.
//!
//! With the feature `shuttle` they are those of the shuttle model checker, which chooses at each of them the
//! thread that runs next (`lsm/tests/interleavings.rs`). Otherwise they are those of parking_lot, arc-swap
//! and the standard library.
//!
//! Only code whose interleavings matter uses this module: the write path and publication, memtables,
//! snapshots, and the log's group commit. Code that runs under one of these locks and never waits itself does
//! not need it.

#[cfg(not(feature = "shuttle"))]
mod plain {
    pub(crate) use arc_swap::ArcSwap;
    pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
    pub(crate) use std::sync::atomic;
    pub(crate) use std::thread;

    /// Releases a lock so that a waiting thread gets it next.
    pub(crate) fn unlock_fair<T>(guard: MutexGuard<'_, T>) {
        MutexGuard::unlock_fair(guard);
    }

    /// Takes a lock that is held for less time than it costs to sleep and be woken: tries for a few
    /// microseconds before it sleeps.
    #[inline]
    pub(crate) fn lock_brief<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        for _ in 0..BRIEF_TRIES {
            if let Some(guard) = mutex.try_lock() {
                return guard;
            }
            spin(BRIEF_TURNS);
        }
        mutex.lock()
    }

    const BRIEF_TRIES: u32 = 100;
    const BRIEF_TURNS: u32 = 4;

    /// Passes some time on the processor.
    pub(crate) fn spin(turns: u32) {
        (0..turns).for_each(|_| std::hint::spin_loop());
    }
}

#[cfg(not(feature = "shuttle"))]
pub(crate) use plain::*;

#[cfg(feature = "shuttle")]
mod checked {
    pub(crate) use shuttle::sync::atomic;
    pub(crate) use shuttle::thread;
    use std::ops::{Deref, DerefMut};
    use std::sync::{Arc, PoisonError, TryLockError};
    use std::time::Duration;

    // As with parking_lot, a lock that a panicking thread held is simply free: what unwinds may still take
    // it.

    /// As parking_lot's.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    /// Empty only while a condition variable has it.
    pub(crate) struct MutexGuard<'a, T>(Option<shuttle::sync::MutexGuard<'a, T>>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)))
        }

        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            match self.0.try_lock() {
                Ok(guard) => Some(MutexGuard(Some(guard))),
                Err(TryLockError::Poisoned(poisoned)) => Some(MutexGuard(Some(poisoned.into_inner()))),
                Err(TryLockError::WouldBlock) => None,
            }
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;
        fn deref(&self) -> &T {
            self.0.as_ref().expect("held")
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().expect("held")
        }
    }

    pub(crate) fn unlock_fair<T>(guard: MutexGuard<'_, T>) {
        drop(guard);
        thread::yield_now();
    }

    pub(crate) fn lock_brief<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock()
    }

    /// Lets another thread run: a spinning thread waits for one.
    pub(crate) fn spin(_: u32) {
        thread::yield_now();
    }

    /// As parking_lot's.
    #[derive(Debug, Default)]
    pub(crate) struct RwLock<T>(shuttle::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::RwLock::new(value))
        }

        pub(crate) fn read(&self) -> shuttle::sync::RwLockReadGuard<'_, T> {
            self.0.read().unwrap_or_else(PoisonError::into_inner)
        }

        pub(crate) fn write(&self) -> shuttle::sync::RwLockWriteGuard<'_, T> {
            self.0.write().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// As parking_lot's. Time does not pass: a wait with a timeout ends with a notification.
    #[derive(Debug, Default)]
    pub(crate) struct Condvar(shuttle::sync::Condvar);

    pub(crate) struct Waited;

    impl Waited {
        pub(crate) fn timed_out(&self) -> bool {
            false
        }
    }

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            let held = guard.0.take().expect("held");
            guard.0 = Some(self.0.wait(held).unwrap_or_else(PoisonError::into_inner));
        }

        pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _: Duration) -> Waited {
            self.wait(guard);
            Waited
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    /// As arc-swap's: loads and stores are single steps.
    #[derive(Debug)]
    pub(crate) struct ArcSwap<T>(shuttle::sync::Mutex<Arc<T>>);

    impl<T> ArcSwap<T> {
        pub(crate) fn from_pointee(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(Arc::new(value)))
        }

        pub(crate) fn load(&self) -> Arc<T> {
            self.load_full()
        }

        pub(crate) fn load_full(&self) -> Arc<T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
        }

        pub(crate) fn store(&self, value: Arc<T>) {
            let old = std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), value);
            // Not under the lock: what goes with it may take locks of its own.
            drop(old);
        }
    }
}

#[cfg(feature = "shuttle")]
pub(crate) use checked::*;
