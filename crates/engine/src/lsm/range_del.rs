//! Range deletes, stored as *fragments*: disjoint ranges, each with the sequence numbers of the range deletes
//! that cover it. One search among the fragments answers which range delete covers a key.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;

/// One disjoint range and the deletes that cover all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub(crate) start: Bytes,
    /// Exclusive.
    pub(crate) end: Bytes,
    /// Newest first; never empty.
    pub(crate) seqs: Vec<u64>,
}

impl Fragment {
    /// The newest delete visible at `seq`, or 0.
    fn newest_at(&self, seq: u64) -> u64 {
        self.seqs.iter().copied().find(|&s| s <= seq).unwrap_or(0)
    }
}

/// Fragments under construction: the memtable's form.
#[derive(Debug, Default)]
pub(crate) struct RangeDelMap {
    /// Start to (end, sequence numbers newest first).
    map: BTreeMap<Bytes, (Bytes, Vec<u64>)>,
}

impl RangeDelMap {
    /// Adds a delete of `start..end` (`start < end`), splitting fragments at its ends.
    pub(crate) fn insert(&mut self, start: &[u8], end: &[u8], seq: u64) {
        debug_assert!(start < end);
        self.split(start);
        self.split(end);
        let inside: Vec<(Bytes, Bytes)> = self
            .map
            .range::<[u8], _>((Bound::Included(start), Bound::Excluded(end)))
            .map(|(s, (e, _))| (s.clone(), e.clone()))
            .collect();
        let mut gap_start = Bytes::copy_from_slice(start);
        for (s, e) in inside {
            if gap_start < s {
                self.map.insert(gap_start, (s.clone(), vec![seq]));
            }
            if let Some((_, seqs)) = self.map.get_mut(&s) {
                let at = seqs.partition_point(|&x| x > seq);
                if seqs.get(at) != Some(&seq) {
                    seqs.insert(at, seq);
                }
            }
            gap_start = e;
        }
        if gap_start[..] < *end {
            self.map.insert(gap_start, (Bytes::copy_from_slice(end), vec![seq]));
        }
    }

    /// Adds all deletes of a fragment.
    pub(crate) fn insert_fragment(&mut self, f: &Fragment) {
        for &seq in &f.seqs {
            self.insert(&f.start, &f.end, seq);
        }
    }

    fn split(&mut self, at: &[u8]) {
        let Some((start, (end, seqs))) =
            self.map.range_mut::<[u8], _>((Bound::Unbounded, Bound::Excluded(at))).next_back()
        else {
            return;
        };
        if end[..] > *at {
            debug_assert!(start[..] < *at);
            let key = Bytes::copy_from_slice(at);
            let tail = (std::mem::replace(end, key.clone()), seqs.clone());
            self.map.insert(key, tail);
        }
    }

    /// The newest delete at or below `seq` that covers `key`, or 0.
    pub(crate) fn cover(&self, key: &[u8], seq: u64) -> u64 {
        let before = self.map.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
        match before {
            Some((_, (end, seqs))) if *key < end[..] => seqs.iter().copied().find(|&s| s <= seq).unwrap_or(0),
            _ => 0,
        }
    }

    pub(crate) fn fragments(&self) -> impl Iterator<Item = Fragment> + '_ {
        self.map.iter().map(|(s, (e, seqs))| Fragment {
            start: s.clone(),
            end: e.clone(),
            seqs: seqs.clone(),
        })
    }

    /// The immutable form.
    pub(crate) fn freeze(&self) -> RangeDels {
        RangeDels { frags: self.fragments().collect() }
    }
}

/// Immutable fragments in key order: the form of tables, scans and compactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RangeDels {
    pub(crate) frags: Vec<Fragment>,
}

impl RangeDels {
    pub(crate) fn is_empty(&self) -> bool {
        self.frags.is_empty()
    }

    /// The fragment that holds `key`.
    pub(crate) fn find(&self, key: &[u8]) -> Option<&Fragment> {
        let i = self.frags.partition_point(|f| f.start[..] <= *key).checked_sub(1)?;
        self.frags.get(i).filter(|f| *key < f.end[..])
    }

    /// The newest delete at or below `seq` that covers `key`, or 0.
    #[inline]
    pub(crate) fn cover(&self, key: &[u8], seq: u64) -> u64 {
        if self.frags.is_empty() {
            return 0;
        }
        self.find(key).map_or(0, |f| f.newest_at(seq))
    }

    /// Fragments cut to `low..high`; `None` is unbounded.
    pub(crate) fn clip<'a>(
        &'a self,
        low: Option<&'a [u8]>,
        high: Option<&'a [u8]>,
    ) -> impl Iterator<Item = Fragment> + 'a {
        let first = low.map_or(0, |low| self.frags.partition_point(|f| f.end[..] <= *low));
        self.frags[first..].iter().take_while(move |f| high.is_none_or(|high| f.start[..] < *high)).map(
            move |f| {
                let mut f = f.clone();
                if let Some(low) = low
                    && f.start[..] < *low
                {
                    f.start = Bytes::copy_from_slice(low);
                }
                if let Some(high) = high
                    && f.end[..] > *high
                {
                    f.end = Bytes::copy_from_slice(high);
                }
                f
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cover_agrees_with_a_list(
            dels in vec((0u8..40, 1u8..12, 1u64..50), 0..25),
            probes in vec((0u8..55, 0u64..60), 40),
            clip in (0u8..40, 1u8..20),
        ) {
            let mut map = RangeDelMap::default();
            for &(s, len, seq) in &dels {
                map.insert(&[s], &[s + len], seq);
            }
            let frozen = map.freeze();
            for w in frozen.frags.windows(2) {
                prop_assert!(w[0].end <= w[1].start);
            }
            for f in &frozen.frags {
                prop_assert!(f.start < f.end && !f.seqs.is_empty());
                prop_assert!(f.seqs.windows(2).all(|w| w[0] > w[1]));
            }
            let (low, high) = ([clip.0], [clip.0 + clip.1]);
            let clipped = RangeDels { frags: frozen.clip(Some(&low), Some(&high)).collect() };
            for &(k, seq) in &probes {
                let want = dels.iter().filter(|d| d.0 <= k && k < d.0 + d.1 && d.2 <= seq).map(|d| d.2).max().unwrap_or(0);
                prop_assert_eq!(map.cover(&[k], seq), want);
                prop_assert_eq!(frozen.cover(&[k], seq), want);
                let inside = low[0] <= k && k < high[0];
                prop_assert_eq!(clipped.cover(&[k], seq), if inside { want } else { 0 });
            }
        }
    }
}
