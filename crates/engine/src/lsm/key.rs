//! Internal keys: a user key with its sequence number and kind. They are ordered by user key, and within a
//! key newest first.

/// Highest sequence number: 60 bits, since the kind shares the word.
pub(crate) const MAX_SEQ: u64 = (1 << 60) - 1;

/// What an entry says about its key.
pub(crate) const KIND_DELETE: u64 = 0;
/// The key has the value that follows.
pub(crate) const KIND_PUT: u64 = 1;
/// The key has a value, which is in a value file; what follows is the pointer. In tables only.
pub(crate) const KIND_POINTER: u64 = 2;

/// Sequence number and kind in one word; a greater tag is newer.
#[inline]
pub(crate) const fn tag(seq: u64, kind: u64) -> u64 {
    (seq << 4) | kind
}

/// The greatest tag visible at `seq`: where a search for a key as of `seq` starts.
#[inline]
pub(crate) const fn search_tag(seq: u64) -> u64 {
    (seq << 4) | 0xf
}

#[inline]
pub(crate) const fn seq_of(tag: u64) -> u64 {
    tag >> 4
}

#[inline]
pub(crate) const fn kind_of(tag: u64) -> u64 {
    tag & 0xf
}

/// Length of the common prefix.
#[inline]
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let max = a.len().min(b.len());
    let mut i = 0;
    while i + 8 <= max {
        let (x, y) = (load8(a, i), load8(b, i));
        if x != y {
            return i + ((x ^ y).trailing_zeros() / 8) as usize;
        }
        i += 8;
    }
    while i < max && a[i] == b[i] {
        i += 1;
    }
    i
}

#[inline]
fn load8(data: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(data[at..at + 8].try_into().expect("eight bytes"))
}

/// The eight bytes from `skip` on as a big-endian number, padded with zeros: compares as the bytes do, up to
/// ties.
#[inline]
pub(crate) fn prefix8(key: &[u8], skip: usize) -> u64 {
    if let Some(bytes) = key.get(skip..skip + 8) {
        return u64::from_be_bytes(bytes.try_into().expect("eight bytes"));
    }
    let rest = key.get(skip..).unwrap_or(&[]);
    let mut padded = [0u8; 8];
    padded[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(padded)
}

/// Appends to `out` a short key `s` with `a <= s < b`, for `a < b`: what an index needs to tell two blocks
/// apart.
pub(crate) fn separator(a: &[u8], b: &[u8], out: &mut Vec<u8>) {
    let shared = common_prefix(a, b);
    // `a` with its first differing byte raised by one, if that stays below `b`; it is never longer than `a`.
    if let (Some(&x), Some(&y)) = (a.get(shared), b.get(shared))
        && shared + 1 < a.len()
        && (x + 1 < y || (x + 1 == y && shared + 1 < b.len()))
    {
        out.extend_from_slice(&a[..shared]);
        out.push(x + 1);
        return;
    }
    out.extend_from_slice(a);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn separator_separates(a in proptest::collection::vec(0u8..4, 0..6), b in proptest::collection::vec(0u8..4, 0..6)) {
            prop_assume!(a < b);
            let mut s = Vec::new();
            separator(&a, &b, &mut s);
            prop_assert!(a <= s && s < b, "{a:?} {s:?} {b:?}");
            prop_assert!(s.len() <= a.len());
        }

        #[test]
        fn prefixes_order_as_keys(a: Vec<u8>, b: Vec<u8>) {
            let n = common_prefix(&a, &b);
            prop_assert_eq!(&a[..n], &b[..n]);
            prop_assert!(a.get(n) != b.get(n) || a.len() == n || b.len() == n);
            for skip in 0..=n {
                let (x, y) = (prefix8(&a, skip), prefix8(&b, skip));
                prop_assert!(x == y || (x < y) == (a < b));
            }
        }
    }
}
