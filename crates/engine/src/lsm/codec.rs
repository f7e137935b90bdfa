//! Variable-length integers, and a reader that checks bounds. Every format of the LSM tree is built from
//! these.

/// Longest encoding of a `u64` varint, bytes.
pub(crate) const MAX_VARINT: usize = 10;

/// Appends `v` as a little-endian base-128 varint.
#[inline]
pub(crate) fn put_varint(buf: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        buf.push(v as u8 | 0x80);
        v >>= 7;
    }
    buf.push(v as u8);
}

/// Appends a length-prefixed byte string.
pub(crate) fn put_bytes(buf: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(buf, bytes.len() as u64);
    buf.extend_from_slice(bytes);
}

/// Reads a varint at `pos`: the value and the position after it. `None` if cut short or longer than a `u64`.
#[inline]
pub(crate) fn get_varint(data: &[u8], pos: usize) -> Option<(u64, usize)> {
    let first = *data.get(pos)?;
    if first < 0x80 {
        return Some((u64::from(first), pos + 1));
    }
    match data.get(pos..).and_then(|rest| rest.first_chunk()) {
        Some(word) => short_varint(u64::from_le_bytes(*word), pos).or_else(|| get_varint_slow(data, pos)),
        None => get_varint_slow(data, pos),
    }
}

/// A varint of up to eight bytes out of a word that begins with it: its groups of seven bits are closed up
/// two, four and eight at a time.
#[inline]
fn short_varint(word: u64, pos: usize) -> Option<(u64, usize)> {
    let stops = !word & 0x8080_8080_8080_8080;
    if stops == 0 {
        return None;
    }
    let x = word & (stops ^ (stops - 1)) & 0x7f7f_7f7f_7f7f_7f7f;
    let x = (x & 0x007f_007f_007f_007f) | ((x & 0x7f00_7f00_7f00_7f00) >> 1);
    let x = (x & 0x0000_3fff_0000_3fff) | ((x & 0x3fff_0000_3fff_0000) >> 2);
    let x = (x & 0x0fff_ffff) | ((x & 0x0fff_ffff_0000_0000) >> 4);
    Some((x, pos + stops.trailing_zeros() as usize / 8 + 1))
}

#[cold]
fn get_varint_slow(data: &[u8], pos: usize) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for i in 0..MAX_VARINT {
        let byte = *data.get(pos + i)?;
        if i == MAX_VARINT - 1 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Some((value, pos + i + 1));
        }
    }
    None
}

/// A cursor over untrusted bytes. Every method returns `None` rather than reading past the end.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    data: &'a [u8],
    pos: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { data, pos: 0 }
    }

    pub(crate) fn position(&self) -> usize {
        self.pos
    }

    pub(crate) fn is_done(&self) -> bool {
        self.pos >= self.data.len()
    }

    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.pos.checked_add(len)?;
        let out = self.data.get(self.pos..end)?;
        self.pos = end;
        Some(out)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let (value, pos) = get_varint(self.data, self.pos)?;
        self.pos = pos;
        Some(value)
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.varint()?).ok()?;
        self.take(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varint_round_trip(v: u64, shift in 0u32..64, junk: Vec<u8>) {
            let v = v >> shift;
            let mut buf = Vec::new();
            put_varint(&mut buf, v);
            let len = buf.len();
            prop_assert!(len <= MAX_VARINT);
            for cut in 0..len {
                prop_assert_eq!(get_varint(&buf[..cut], 0), None);
            }
            buf.extend_from_slice(&junk);
            prop_assert_eq!(get_varint(&buf, 0), Some((v, len)));
        }

        #[test]
        fn varints_are_read_alike_whole_words_at_a_time(data in proptest::collection::vec(prop_oneof![Just(0x80u8), Just(0xff), any::<u8>()], 0..12), pos in 0usize..13) {
            prop_assert_eq!(get_varint(&data, pos), get_varint_slow(&data, pos));
        }

        #[test]
        fn reader_never_panics(data: Vec<u8>, calls in proptest::collection::vec(0u8..5, 0..20)) {
            let mut r = Reader::new(&data);
            for c in calls {
                match c {
                    0 => drop(r.u8()),
                    1 => drop(r.u32()),
                    2 => drop(r.u64()),
                    3 => drop(r.varint()),
                    _ => drop(r.bytes()),
                }
                prop_assert!(r.position() <= data.len());
            }
        }
    }

    #[test]
    fn overlong_varint_is_refused() {
        assert_eq!(get_varint(&[0xff; 11], 0), None);
        assert_eq!(get_varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], 0), None);
        let mut max = Vec::new();
        put_varint(&mut max, u64::MAX);
        assert_eq!(get_varint(&max, 0), Some((u64::MAX, 10)));
    }
}
