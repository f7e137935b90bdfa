//! What the layer above may drop during compactions: items past their time to live, and history that no
//! reader needs any more.

/// Decides in a compaction whether a value is still wanted. It is asked only about the newest version of a
/// key that a compaction sees, and only if no snapshot sees that version. A rejected value counts as deleted.
/// Some values are never asked about, and the answer must not depend on earlier questions, so readers still
/// check for themselves. A value that was dropped may still be read for a while, because the item cache may
/// hold it.
pub trait CompactionFilter: Send + Sync {
    /// Whether `key`, which lies in the output of a compaction, keeps `value`.
    fn keeps(&self, key: &[u8], value: &[u8]) -> bool;

    /// Whether a large value of this key, which is in a value file, is to be read for
    /// [`CompactionFilter::keeps`]. If so, every compaction that meets the key reads the value. A filter that
    /// can decide from the key alone should answer false.
    fn reads_large(&self, _key: &[u8]) -> bool {
        true
    }
}

/// The filter of the options: none, or shared.
#[derive(Clone, Default)]
pub struct Filter(pub Option<std::sync::Arc<dyn CompactionFilter>>);

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Filter(..)" } else { "Filter(none)" })
    }
}
