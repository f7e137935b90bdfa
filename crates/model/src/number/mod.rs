//! DynamoDB numbers: 38 significant decimal digits, magnitude 1E-130 to 9.99…E+125.
//!
//! A number is held as `± digits × 10^exponent` with no trailing zero in `digits`, so equal values have equal
//! representations and equality and hash can be derived. Nothing here rounds: what does not fit is an error,
//! as in DynamoDB.
//!
//! `parse` reads and writes the decimal spelling, `encoding` holds the two byte forms (ordered for keys,
//! compact for storage).

mod encoding;
mod parse;

use crate::limits::{MAX_NUMBER_DIGITS, MAX_NUMBER_EXPONENT, MIN_NUMBER_EXPONENT};
use crate::{ApiError, ErrorCode};
use std::cmp::Ordering;

/// An exact decimal. Equality, order and hash are by value, not by spelling.
///
/// Twenty-four bytes: the digits are kept as two halves so that the type aligns to eight bytes rather than
/// sixteen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Number {
    digits_high: u64,
    digits_low: u64,
    /// Power of ten of the last digit, −167 to 125; 0 for zero.
    exponent: i16,
    negative: bool,
}

/// Why a number was refused. The text of each is DynamoDB's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Not a decimal number; carries the spelling (empty for an empty string).
    #[error("The parameter cannot be converted to a numeric value{}{}", if .0.is_empty() { "" } else { ": " }, .0)]
    NotNumeric(String),
    /// Magnitude of 1E+126 or more.
    #[error("Number overflow. Attempting to store a number with magnitude larger than supported range")]
    Overflow,
    /// Magnitude under 1E-130 and not zero.
    #[error("Number underflow. Attempting to store a number with magnitude smaller than supported range")]
    Underflow,
    /// More than 38 significant digits.
    #[error("Attempting to store more than 38 significant digits in a Number")]
    TooPrecise,
}

impl From<NumberError> for ApiError {
    fn from(error: NumberError) -> Self {
        ApiError::new(ErrorCode::Validation, error.to_string())
    }
}

/// `10^power` for powers up to 38, the largest that `u128` holds.
const fn pow10(power: u32) -> u128 {
    10u128.pow(power)
}

/// Decimal digits of `value`; 0 has none.
fn digit_count(value: u128) -> u32 {
    match value.checked_ilog10() {
        Some(log) => log + 1,
        None => 0,
    }
}

/// Removes trailing decimal zeros and says how many.
fn strip_zeros(mut value: u128) -> (u128, u32) {
    let mut stripped = 0;
    if value == 0 {
        return (0, 0);
    }
    for step in [32u32, 16, 8, 4, 2, 1] {
        let divisor = pow10(step);
        if value.is_multiple_of(divisor) {
            value /= divisor;
            stripped += step;
        }
    }
    (value, stripped)
}

impl Number {
    /// Zero. There is only one: `-0` is spelled back as `0`.
    pub const ZERO: Number = Number { digits_high: 0, digits_low: 0, exponent: 0, negative: false };

    /// `± digits × 10^exponent`, brought to canonical form.
    ///
    /// # Errors
    /// Overflow, underflow and precision, in this order.
    pub fn from_parts(negative: bool, digits: u128, exponent: i32) -> Result<Self, NumberError> {
        let (digits, stripped) = strip_zeros(digits);
        if digits == 0 {
            return Ok(Self::ZERO);
        }
        let count = digit_count(digits) as i64;
        let exponent = i64::from(exponent) + i64::from(stripped);
        let leading = exponent + count - 1;
        if leading > i64::from(MAX_NUMBER_EXPONENT) {
            return Err(NumberError::Overflow);
        }
        if leading < i64::from(MIN_NUMBER_EXPONENT) {
            return Err(NumberError::Underflow);
        }
        if count > MAX_NUMBER_DIGITS as i64 {
            return Err(NumberError::TooPrecise);
        }
        Ok(Number {
            digits_high: (digits >> 64) as u64,
            digits_low: digits as u64,
            exponent: exponent as i16,
            negative,
        })
    }

    /// The significant digits as an integer without trailing zeros; 0 for zero.
    pub fn digits(&self) -> u128 {
        (u128::from(self.digits_high) << 64) | u128::from(self.digits_low)
    }

    /// The power of ten of the last significant digit.
    pub fn exponent(&self) -> i32 {
        i32::from(self.exponent)
    }

    /// True below zero.
    pub fn is_negative(&self) -> bool {
        self.negative
    }

    /// True for zero.
    pub fn is_zero(&self) -> bool {
        self.digits_high == 0 && self.digits_low == 0
    }

    /// How many significant digits the number has; 0 for zero.
    pub fn significant_digits(&self) -> u32 {
        digit_count(self.digits())
    }

    /// The power of ten of the first significant digit (the exponent of scientific notation).
    pub fn leading_exponent(&self) -> i32 {
        self.exponent() + self.significant_digits() as i32 - 1
    }

    /// The bytes that the number counts for in an item's size: one for every two digits, counted in base 100
    /// as DynamoDB stores them, plus one, plus one for a sign; 21 at most.
    pub fn size_bytes(&self) -> usize {
        if self.is_zero() {
            return 1;
        }
        // Base-100 digits are aligned to even powers of ten, so 10 and 1 take one, 12.3 takes two and 1.23
        // takes two.
        let last = self.exponent().div_euclid(2);
        let first = self.leading_exponent().div_euclid(2);
        let pairs = (first - last + 1) as usize;
        (pairs + 1 + usize::from(self.negative)).min(21)
    }

    /// The exact sum.
    ///
    /// # Errors
    /// When it has more than 38 digits, or leaves the range.
    pub fn checked_add(&self, other: &Number) -> Result<Number, NumberError> {
        if self.is_zero() {
            return Ok(*other);
        }
        if other.is_zero() {
            return Ok(*self);
        }
        let (large, small) = if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        let shift = (large.exponent() - small.exponent()) as u32;
        // `small` ends in a non-zero digit and so does the sum. A shift over 38, or an aligned operand that
        // leaves 128 bits, therefore means more than 38 significant digits, whichever way the signs go.
        if shift > MAX_NUMBER_DIGITS as u32 {
            return Err(NumberError::TooPrecise);
        }
        let a = large.digits().checked_mul(pow10(shift)).ok_or(NumberError::TooPrecise)?;
        let b = small.digits();
        let (negative, sum) = if large.negative == small.negative {
            (large.negative, a.checked_add(b).ok_or(NumberError::TooPrecise)?)
        } else if a >= b {
            (large.negative, a - b)
        } else {
            (small.negative, b - a)
        };
        Number::from_parts(negative, sum, small.exponent())
    }

    /// The exact difference `self - other`.
    ///
    /// # Errors
    /// As [`Number::checked_add`].
    pub fn checked_sub(&self, other: &Number) -> Result<Number, NumberError> {
        self.checked_add(&-*other)
    }

    /// The value as an integer, when it is one and fits.
    pub fn to_i64(&self) -> Option<i64> {
        if self.exponent < 0 || self.exponent > 19 {
            return None;
        }
        let magnitude = self.digits().checked_mul(pow10(self.exponent as u32))?;
        let magnitude = i128::try_from(magnitude).ok()?;
        i64::try_from(if self.negative { -magnitude } else { magnitude }).ok()
    }
}

impl std::ops::Neg for Number {
    type Output = Number;
    fn neg(mut self) -> Number {
        self.negative = !self.negative && !self.is_zero();
        self
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        let (digits, exponent) = strip_zeros(u128::from(value.unsigned_abs()));
        Number { digits_high: 0, digits_low: digits as u64, exponent: exponent as i16, negative: value < 0 }
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        let (digits, exponent) = strip_zeros(u128::from(value));
        Number { digits_high: 0, digits_low: digits as u64, exponent: exponent as i16, negative: false }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |n: &Number| {
            if n.is_zero() {
                0
            } else if n.negative {
                -1
            } else {
                1
            }
        };
        let (a, b) = (sign(self), sign(other));
        if a != b || a == 0 {
            return a.cmp(&b);
        }
        let (count_a, count_b) = (self.significant_digits(), other.significant_digits());
        let magnitude = self.leading_exponent().cmp(&other.leading_exponent()).then_with(|| {
            // Same leading power: pad both to 38 digits and compare as integers.
            let max = MAX_NUMBER_DIGITS as u32;
            (self.digits() * pow10(max - count_a)).cmp(&(other.digits() * pow10(max - count_b)))
        });
        if self.negative { magnitude.reverse() } else { magnitude }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl std::fmt::Debug for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Number({self})")
    }
}

#[cfg(test)]
mod tests;
