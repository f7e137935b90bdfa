//! What the layer above may drop during compactions: items past their time to live, and history that no
//! reader needs any more.

/// Decides in a compaction whether a value is still wanted. Asked only about the newest version of a key that
/// a compaction sees, and only if no snapshot sees it; a value refused is as if deleted. Not every value is
/// ever asked about, and the answer must not depend on whether it was asked before: readers still check for
/// themselves. A value that was left out may be read for a while yet (the item cache may have it).
pub trait CompactionFilter: Send + Sync {
    /// Whether `key`, which lies in the output of a compaction, keeps `value`.
    fn keeps(&self, key: &[u8], value: &[u8]) -> bool;

    /// Whether a large value of this key, which lies apart from the tree, is to be read for
    /// [`CompactionFilter::keeps`]. Every compaction that meets the key then reads the value: a filter that
    /// can tell from the key that there is nothing to decide says no.
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
