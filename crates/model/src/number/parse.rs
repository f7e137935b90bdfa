//! The decimal spelling of a number: what is accepted, and what is written back.

use super::{Number, NumberError, pow10};
use crate::limits::MAX_NUMBER_DIGITS;

impl Number {
    /// Reads a decimal: optional sign, digits with an optional point (at least one digit), optional exponent
    /// `e` or `E` with an optional sign. No spaces.
    ///
    /// # Errors
    /// Not a number, overflow, underflow, too many digits, in this order.
    pub fn parse(text: &str) -> Result<Self, NumberError> {
        let not_numeric = || NumberError::NotNumeric(text.to_string());
        let bytes = text.as_bytes();
        let (negative, mut rest) = match bytes {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, bytes),
        };
        let mut mantissa = Mantissa::default();
        let mut seen_digit = false;
        let mut seen_point = false;
        let mut exponent: i64 = 0;
        while let [byte, tail @ ..] = rest {
            rest = tail;
            match byte {
                b'0'..=b'9' => {
                    seen_digit = true;
                    mantissa.push(byte - b'0', seen_point);
                }
                b'.' if !seen_point => seen_point = true,
                b'e' | b'E' if seen_digit => {
                    exponent = parse_exponent(tail).ok_or_else(not_numeric)?;
                    rest = &[];
                }
                _ => return Err(not_numeric()),
            }
        }
        if !seen_digit {
            return Err(not_numeric());
        }
        mantissa.finish(negative, exponent)
    }

    /// Appends the canonical spelling: plain notation, no exponent, no needless zeros.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        if self.negative {
            out.push(b'-');
        }
        let value = self.digits();
        let exponent = self.exponent();
        // The common case, an integer of machine size, without the general path's buffer.
        if exponent == 0 && self.digits_high == 0 && self.digits_low < 10 {
            out.push(b'0' + self.digits_low as u8);
            return;
        }
        let mut buffer = [0u8; MAX_NUMBER_DIGITS];
        let digits = write_digits(value, &mut buffer);
        if exponent >= 0 {
            out.extend_from_slice(digits);
            out.resize(out.len() + exponent as usize, b'0');
            return;
        }
        let fraction = exponent.unsigned_abs() as usize;
        match digits.len().checked_sub(fraction) {
            Some(whole) if whole > 0 => {
                let (head, tail) = digits.split_at(whole);
                out.extend_from_slice(head);
                out.push(b'.');
                out.extend_from_slice(tail);
            }
            _ => {
                out.extend_from_slice(b"0.");
                out.resize(out.len() + fraction - digits.len(), b'0');
                out.extend_from_slice(digits);
            }
        }
    }
}

/// Writes the decimal digits of `value` at the end of `buffer` and returns them; `0` is one digit.
fn write_digits(mut value: u128, buffer: &mut [u8; MAX_NUMBER_DIGITS]) -> &[u8] {
    let mut at = buffer.len();
    // Division of 64-bit halves is far cheaper than of 128 bits.
    while value > u128::from(u64::MAX) {
        let mut low = (value % 1_000_000_000_000_000_000) as u64;
        value /= 1_000_000_000_000_000_000;
        for _ in 0..18 {
            at -= 1;
            buffer[at] = b'0' + (low % 10) as u8;
            low /= 10;
        }
    }
    let mut low = value as u64;
    loop {
        at -= 1;
        buffer[at] = b'0' + (low % 10) as u8;
        low /= 10;
        if low == 0 {
            return &buffer[at..];
        }
    }
}

/// The digits read so far, with zeros held back until a later digit makes them significant.
#[derive(Default)]
struct Mantissa {
    digits: u128,
    /// Significant digits, zeros held back not counted. May pass 38; `digits` then is of no use.
    count: u64,
    held_zeros: u64,
    fraction: u64,
}

impl Mantissa {
    fn push(&mut self, digit: u8, in_fraction: bool) {
        self.fraction += u64::from(in_fraction);
        if digit == 0 {
            self.held_zeros += u64::from(self.count > 0);
            return;
        }
        let added = self.held_zeros + 1;
        self.count += added;
        self.held_zeros = 0;
        if self.count <= MAX_NUMBER_DIGITS as u64 {
            self.digits = self.digits * pow10(added as u32) + u128::from(digit);
        }
    }

    fn finish(self, negative: bool, exponent: i64) -> Result<Number, NumberError> {
        if self.count == 0 {
            return Ok(Number::ZERO);
        }
        let exponent = exponent + self.held_zeros as i64 - self.fraction as i64;
        let max_digits = MAX_NUMBER_DIGITS as u64;
        if self.count > max_digits {
            // Range errors come first; a stand-in of the same leading power finds them.
            let leading = exponent.saturating_add(self.count as i64 - 1).clamp(-1000, 1000);
            return Number::from_parts(negative, 1, leading as i32).and(Err(NumberError::TooPrecise));
        }
        Number::from_parts(negative, self.digits, exponent.clamp(-100_000, 100_000) as i32)
    }
}

/// Up to ten digits with an optional sign, within 32 bits.
fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value: i64 = 0;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(byte - b'0');
        if value > i64::from(i32::MAX) {
            return None;
        }
    }
    Some(if negative { -value } else { value })
}

impl std::str::FromStr for Number {
    type Err = NumberError;
    fn from_str(text: &str) -> Result<Self, NumberError> {
        Number::parse(text)
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = Vec::with_capacity(48);
        self.write_to(&mut out);
        // Only ASCII digits, sign and point were written.
        f.write_str(std::str::from_utf8(&out).unwrap_or_default())
    }
}
