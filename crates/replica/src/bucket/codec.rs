//! Varints and length-prefixed bytes, shared by the record and the context. Integers are LEB128 in their
//! shortest form, so that equal states have equal bytes and can be compared by digest.

use bytes::{Buf, Bytes};

/// Bytes that are not what they should be. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end before the structure does.
    #[error("truncated")]
    Truncated,
    /// Bytes are left over at the end.
    #[error("trailing bytes")]
    Trailing,
    /// A version that this binary does not know.
    #[error("format version {0} is not known to this binary")]
    Version(u8),
    /// A record kind that this binary does not know.
    #[error("record kind {0} is not known to this binary")]
    Kind(u8),
    /// The checksum does not match.
    #[error("checksum mismatch")]
    Checksum,
    /// The structure breaks a rule of the format.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// A context that was issued for another key.
    #[error("the context belongs to another key")]
    OtherKey,
}

/// Appends an integer.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads what the functions above wrote. Slices share the input's memory.
pub struct Reader {
    rest: Bytes,
}

impl Reader {
    /// Starts at the first byte.
    pub fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        self.rest.try_get_u8().map_err(|_| DecodeError::Truncated)
    }

    /// Eight bytes, little-endian.
    pub fn fixed_u64(&mut self) -> Result<u64, DecodeError> {
        self.rest.try_get_u64_le().map_err(|_| DecodeError::Truncated)
    }

    /// An integer; refuses encodings longer than needed.
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return Err(DecodeError::Malformed("integer above 64 bits"));
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(DecodeError::Malformed("integer is not minimal"));
                }
                return Ok(value);
            }
        }
        Err(DecodeError::Malformed("integer above 64 bits"))
    }

    /// A length and that many bytes.
    pub fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let len = self.varint()?;
        match usize::try_from(len) {
            Ok(len) if len <= self.rest.len() => Ok(self.rest.split_to(len)),
            _ => Err(DecodeError::Truncated),
        }
    }

    /// A count of things that take at least `min_bytes` each: never larger than what the rest can hold, so
    /// that a hostile count allocates nothing.
    pub fn count(&mut self, min_bytes: usize) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.varint()?).map_err(|_| DecodeError::Truncated)?;
        if count > self.rest.len() / min_bytes.max(1) { Err(DecodeError::Truncated) } else { Ok(count) }
    }

    /// Checks that nothing is left.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn integers_round_trip(value in prop_oneof![any::<u64>(), 0u64..300]) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let mut reader = Reader::new(out.into());
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert_eq!(reader.finish(), Ok(()));
        }
    }

    #[test]
    fn bad_integers_are_refused() {
        for (bytes, error) in [
            (&[][..], DecodeError::Truncated),
            (&[0x80], DecodeError::Truncated),
            (&[0x80, 0x00], DecodeError::Malformed("integer is not minimal")),
            (&[0xff; 11], DecodeError::Malformed("integer above 64 bits")),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
                DecodeError::Malformed("integer above 64 bits"),
            ),
        ] {
            assert_eq!(Reader::new(Bytes::from(bytes)).varint(), Err(error), "{bytes:?}");
        }
    }
}
