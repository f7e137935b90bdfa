//! The two byte forms of a number; drawn in `docs/formats/key.md` and `docs/formats/item.md`.
//!
//! * Ordered: byte order is numeric order; self-delimiting, so that a sort key may follow it.
//! * Compact: small integers take two bytes and decode without division; not ordered.

use super::{Number, pow10};
use crate::limits::{MAX_NUMBER_DIGITS, MIN_NUMBER_EXPONENT};

/// Ordered form: sign byte of a negative number.
const NEGATIVE: u8 = 0x01;
/// Ordered form: the whole of zero.
const ZERO: u8 = 0x02;
/// Ordered form: sign byte of a positive number.
const POSITIVE: u8 = 0x03;
/// Longest ordered form: sign, exponent, nineteen digit pairs.
#[cfg(test)]
pub const MAX_ORDERED_BYTES: usize = 2 + MAX_NUMBER_DIGITS / 2;

/// Compact form: exponents from −64 to 62 are held in seven bits with this bias.
const SHORT_EXPONENT_BIAS: i32 = 64;
/// Compact form: marks a two-byte exponent.
const LONG_EXPONENT: u8 = 0x7f;

impl Number {
    /// Appends the ordered form: sign byte, biased leading exponent, digit pairs from the most significant,
    /// each doubled with the low bit set while more follow. A negative number has every byte after the sign
    /// complemented.
    pub fn encode_ordered(&self, out: &mut Vec<u8>) {
        if self.is_zero() {
            out.push(ZERO);
            return;
        }
        out.push(if self.negative { NEGATIVE } else { POSITIVE });
        let flip = if self.negative { 0xff } else { 0 };
        // The leading exponent spans −130 to 125: exactly the 256 values of a byte.
        out.push((self.leading_exponent() - MIN_NUMBER_EXPONENT) as u8 ^ flip);
        let count = self.significant_digits();
        let mut padded = self.digits() * if count.is_multiple_of(2) { 1 } else { 10 };
        let pairs = count.div_ceil(2);
        for index in (0..pairs).rev() {
            let unit = pow10(index * 2);
            let pair = (padded / unit) as u8;
            padded %= unit;
            let more = u8::from(index > 0);
            out.push((pair * 2 + more) ^ flip);
        }
    }

    /// Reads an ordered form at the start of `bytes`; returns the number and the length read. `None` if
    /// malformed or not canonical.
    pub fn decode_ordered(bytes: &[u8]) -> Option<(Number, usize)> {
        let (&sign, rest) = bytes.split_first()?;
        if sign == ZERO {
            return Some((Number::ZERO, 1));
        }
        let flip = match sign {
            NEGATIVE => 0xff,
            POSITIVE => 0,
            _ => return None,
        };
        let (&exponent, pairs) = rest.split_first()?;
        let leading = i32::from(exponent ^ flip) + MIN_NUMBER_EXPONENT;
        let mut digits: u128 = 0;
        for (index, byte) in pairs.iter().take(MAX_NUMBER_DIGITS / 2).enumerate() {
            let byte = byte ^ flip;
            let pair = byte / 2;
            if pair > 99 || (index == 0 && pair < 10) {
                return None;
            }
            digits = digits * 100 + u128::from(pair);
            if byte & 1 == 0 {
                if pair == 0 {
                    return None;
                }
                let count = (index as i32 + 1) * 2;
                let number = Number::from_parts(sign == NEGATIVE, digits, leading - count + 1).ok()?;
                return Some((number, index + 3));
            }
        }
        None
    }

    /// Appends the compact form: a byte of sign and exponent (two more for a far exponent), then the digits
    /// as a little-endian base-128 varint.
    pub fn encode_compact(&self, out: &mut Vec<u8>) {
        let sign = u8::from(self.negative) << 7;
        let short = self.exponent() + SHORT_EXPONENT_BIAS;
        if (0..i32::from(LONG_EXPONENT)).contains(&short) {
            out.push(sign | short as u8);
        } else {
            out.push(sign | LONG_EXPONENT);
            out.extend_from_slice(&self.exponent.to_le_bytes());
        }
        let mut digits = self.digits();
        while digits >= 0x80 {
            out.push(digits as u8 | 0x80);
            digits >>= 7;
        }
        out.push(digits as u8);
    }

    /// Reads a compact form at the start of `bytes`; returns the number and the length read. `None` if
    /// malformed.
    pub fn decode_compact(bytes: &[u8]) -> Option<(Number, usize)> {
        let (&head, mut rest) = bytes.split_first()?;
        let mut read = 1;
        let exponent = if head & 0x7f == LONG_EXPONENT {
            let (wide, tail) = rest.split_first_chunk::<2>()?;
            rest = tail;
            read += 2;
            i32::from(i16::from_le_bytes(*wide))
        } else {
            i32::from(head & 0x7f) - SHORT_EXPONENT_BIAS
        };
        let mut digits: u128 = 0;
        for (index, byte) in rest.iter().take(19).enumerate() {
            let shift = index as u32 * 7;
            let bits = u128::from(byte & 0x7f);
            if shift == 126 && bits > 3 {
                return None;
            }
            digits |= bits << shift;
            if byte & 0x80 == 0 {
                let number = Number::from_parts(head & 0x80 != 0, digits, exponent).ok()?;
                return Some((number, read + index + 1));
            }
        }
        None
    }
}
