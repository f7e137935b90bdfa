//! The limits that the operating system sets for this process, and what the process uses of them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Where the system sets no bound.
const MANY_FILES: u64 = 1 << 20;
/// What is assumed when it does not say.
const FEW_FILES: u64 = 1024;

/// Raises the number of files and sockets that may be open to the most allowed, and returns it: shells start
/// programs with few.
pub fn raise_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(MANY_FILES, |most| most.min(MANY_FILES));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum });
    let files = if raised.is_ok() { most } else { limit.current.unwrap_or(FEW_FILES) };
    usize::try_from(files).unwrap_or(usize::MAX)
}

/// Memory from here on is asked of the system for itself and returned to it when freed.
#[cfg(target_env = "gnu")]
const OWN_MAPPING_BYTES: i32 = 256 << 10;
/// Heaps that all threads share. What one thread frees into its heap no other can use while theirs have room:
/// with the eight for each processor that glibc would make, the engine under load took up to a quarter more
/// than its budget (docs/operations/engine.md).
#[cfg(target_env = "gnu")]
const HEAPS: i32 = 2;

/// Has the allocator keep to few heaps, and large buffers out of them. glibc raises the size from which it
/// does so each time a larger buffer is freed; a burst of large requests would then leave heaps full of holes
/// that are never returned. Before other threads are started.
#[cfg(target_env = "gnu")]
pub fn tame_allocator() {
    /// `M_MMAP_THRESHOLD` and `M_ARENA_MAX` of `malloc.h`.
    const MMAP_THRESHOLD: i32 = -3;
    const ARENA_MAX: i32 = -8;
    unsafe extern "C" {
        safe fn mallopt(parameter: i32, value: i32) -> i32;
    }
    let set_by_hand = std::env::var_os("MALLOC_ARENA_MAX").is_some();
    for (parameter, value) in [(MMAP_THRESHOLD, OWN_MAPPING_BYTES), (ARENA_MAX, HEAPS)] {
        if !(parameter == ARENA_MAX && set_by_hand) && mallopt(parameter, value) == 0 {
            tracing::debug!(parameter, "the allocator keeps its own setting");
        }
    }
}

/// Other allocators have no such habits.
#[cfg(not(target_env = "gnu"))]
pub fn tame_allocator() {}
