//! Decompresses LZ4 blocks (the block format of github.com/lz4/lz4, `doc/lz4_Block_format.md`). Every read
//! that misses the cache waits for it.
//!
//! The library's safe decoder copies an overlapping match byte by byte. Padded values contain many runs of
//! one byte; here such a run is one fill. Input is not trusted: any bytes lead to an output or to an error,
//! never to a panic.

/// Bytes copied at once where there is room on both sides; what is too much is written over by what follows.
const WIDE: usize = 16;

/// Unpacks `packed` to the front of `out`; returns the length. `None` if it is malformed or does not fit.
pub(super) fn unpack(packed: &[u8], out: &mut [u8]) -> Option<usize> {
    let (mut from, mut to) = (0, 0);
    loop {
        let token = *packed.get(from)?;
        from += 1;
        let literals = match usize::from(token >> 4) {
            15 => 15 + long_length(packed, &mut from)?,
            short => short,
        };
        if literals < WIDE
            && let (Some(source), Some(target)) = (packed.get(from..from + WIDE), out.get_mut(to..to + WIDE))
        {
            target.copy_from_slice(source);
        } else {
            let source = packed.get(from..from.checked_add(literals)?)?;
            out.get_mut(to..to + literals)?.copy_from_slice(source);
        }
        from += literals;
        to += literals;
        // The last sequence has no match.
        if from == packed.len() {
            return Some(to);
        }
        let offset = usize::from(u16::from_le_bytes(*packed.get(from..)?.first_chunk()?));
        from += 2;
        let length = match usize::from(token & 15) {
            15 => 15 + 4 + long_length(packed, &mut from)?,
            short => short + 4,
        };
        let start = to.checked_sub(offset).filter(|_| offset > 0)?;
        if length > out.len() - to {
            return None;
        }
        if length <= WIDE && offset >= WIDE && to + WIDE <= out.len() {
            out.copy_within(start..start + WIDE, to);
        } else if offset == 1 {
            let byte = out[start];
            out[to..to + length].fill(byte);
        } else {
            // A match longer than its offset repeats what it has just written: each turn copies all there is
            // of the pattern.
            let mut done = 0;
            while done < length {
                let n = (offset + done).min(length - done);
                out.copy_within(start..start + n, to + done);
                done += n;
            }
        }
        to += length;
    }
}

/// The rest of a length that does not fit into the token.
fn long_length(packed: &[u8], from: &mut usize) -> Option<usize> {
    let mut length = 0usize;
    loop {
        let byte = *packed.get(*from)?;
        *from += 1;
        length += usize::from(byte);
        if byte != 255 {
            return Some(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Pieces of which each is random, or a repetition of a short pattern, or of what came before.
    fn data() -> impl Strategy<Value = Vec<u8>> {
        let piece = (vec(any::<u8>(), 1..40), 1usize..60, any::<prop::sample::Index>(), 0..3u8);
        vec(piece, 0..30).prop_map(|pieces| {
            let mut out: Vec<u8> = Vec::new();
            for (bytes, times, at, kind) in pieces {
                match kind {
                    0 => out.extend_from_slice(&bytes),
                    1 => out.extend(bytes[..1 + times % bytes.len().min(20)].repeat(times)),
                    _ if !out.is_empty() => {
                        let start = at.index(out.len());
                        let end = (start + times).min(out.len());
                        out.extend_from_within(start..end);
                    }
                    _ => {}
                }
            }
            out
        })
    }

    proptest! {
        #[test]
        fn gives_back_what_was_packed(data in data(), spare in 0usize..40, cut in any::<prop::sample::Index>()) {
            let packed = lz4_flex::block::compress(&data);
            let mut out = vec![7; data.len() + spare];
            prop_assert_eq!(unpack(&packed, &mut out), Some(data.len()));
            prop_assert_eq!(&out[..data.len()], &data[..]);
            if !data.is_empty() {
                prop_assert_eq!(unpack(&packed, &mut out[..data.len() - 1]), None, "no room");
            }
            // Cut short, it is refused or gives a beginning.
            let cut = cut.index(packed.len().max(1));
            if let Some(len) = unpack(&packed[..cut.min(packed.len())], &mut out) {
                prop_assert_eq!(&out[..len], &data[..len]);
            }
        }

        #[test]
        fn junk_agrees_with_the_library(junk in vec(prop_oneof![any::<u8>(), 0u8..20, Just(255)], 0..80), room in 0usize..300) {
            let (mut ours, mut theirs) = (vec![0; room], vec![0; room]);
            let theirs_len = lz4_flex::block::decompress_into(&junk, &mut theirs);
            if let (Some(a), Ok(b)) = (unpack(&junk, &mut ours), theirs_len) {
                prop_assert_eq!(&ours[..a], &theirs[..b]);
            }
        }
    }
}
