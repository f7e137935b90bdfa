//! An immutable sorted list of keys, searched through an array of their eight-byte prefixes. A search touches
//! two or three cache lines instead of one for every comparison. Used for the files of a level and for the
//! top index of a table.

use super::key::{common_prefix, prefix8};

/// Sorted keys, searchable. Equal neighbours are allowed.
#[derive(Debug, Default)]
pub(crate) struct SortedKeys {
    data: Vec<u8>,
    ends: Vec<u32>,
    /// Bytes shared by all keys, left out of `prefixes`.
    skip: usize,
    prefixes: Vec<u64>,
}

impl SortedKeys {
    /// Builds from keys in ascending order.
    pub(crate) fn new<'a>(keys: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut out = Self::default();
        for key in keys {
            out.data.extend_from_slice(key);
            out.ends.push(u32::try_from(out.data.len()).expect("under 4 GiB of index keys"));
        }
        if !out.ends.is_empty() {
            out.skip = common_prefix(out.get(0), out.get(out.len() - 1));
            out.prefixes = (0..out.len()).map(|i| prefix8(out.get(i), out.skip)).collect();
        }
        out
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Memory held, bytes.
    pub(crate) fn weight(&self) -> usize {
        self.data.len() + 12 * self.ends.len()
    }

    #[inline]
    pub(crate) fn get(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        &self.data[start..self.ends[i] as usize]
    }

    /// Index of the first key `>= key`.
    #[inline]
    pub(crate) fn lower_bound(&self, key: &[u8]) -> usize {
        self.search(key, |probe| probe < key)
    }

    /// Index of the first key `> key`.
    #[inline]
    pub(crate) fn upper_bound(&self, key: &[u8]) -> usize {
        self.search(key, |probe| probe <= key)
    }

    /// `before` decides among keys whose prefix equals that of `key`.
    #[inline]
    fn search(&self, key: &[u8], before: impl Fn(&[u8]) -> bool) -> usize {
        if self.ends.is_empty() {
            return 0;
        }
        let common = &self.data[..self.skip];
        match key[..key.len().min(self.skip)].cmp(common) {
            std::cmp::Ordering::Less => return 0,
            std::cmp::Ordering::Greater => return self.len(),
            std::cmp::Ordering::Equal => {}
        }
        let prefix = prefix8(key, self.skip);
        let mut at = self.prefixes.partition_point(|&p| p < prefix);
        let end = at + self.prefixes[at..].partition_point(|&p| p == prefix);
        // Among equal prefixes: binary search on the whole keys.
        let mut len = end - at;
        while len > 0 {
            let half = len / 2;
            if before(self.get(at + half)) {
                at += half + 1;
                len -= half + 1;
            } else {
                len = half;
            }
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_partition_point(
            lead in vec(0u8..2, 0..10),
            mut keys in vec(vec(0u8..3, 0..12), 0..60),
            probes in vec((any::<bool>(), vec(0u8..3, 0..12)), 20),
        ) {
            for k in &mut keys {
                k.splice(0..0, lead.iter().copied());
            }
            keys.sort();
            let sorted = SortedKeys::new(keys.iter().map(Vec::as_slice));
            for (with_lead, mut p) in probes {
                if with_lead {
                    p.splice(0..0, lead.iter().copied());
                }
                prop_assert_eq!(sorted.lower_bound(&p), keys.partition_point(|k| k < &p));
                prop_assert_eq!(sorted.upper_bound(&p), keys.partition_point(|k| k <= &p));
            }
            for (i, k) in keys.iter().enumerate() {
                prop_assert_eq!(sorted.get(i), k.as_slice());
            }
        }
    }
}
