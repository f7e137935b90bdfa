//! Numbers against tables of cases and against a schoolbook decimal.

use super::*;
use proptest::prelude::*;

#[track_caller]
fn reads(text: &str, canonical: &str) {
    assert_eq!(Number::parse(text).map(|n| n.to_string()).as_deref(), Ok(canonical), "{text}");
}

#[test]
fn spellings() {
    for (text, canonical) in [
        ("1", "1"),
        ("+1", "1"),
        ("-0", "0"),
        ("0.0", "0"),
        ("-0.00e5", "0"),
        ("1e5", "100000"),
        (".5", "0.5"),
        ("5.", "5"),
        ("-.5", "-0.5"),
        ("1.10", "1.1"),
        ("00012", "12"),
        ("1e+5", "100000"),
        ("1E-2", "0.01"),
        ("0e500", "0"),
        ("12345.678", "12345.678"),
        ("-100", "-100"),
        ("1E+005", "100000"),
        ("10e-1", "1"),
        ("18446744073709551616", "18446744073709551616"),
        ("99999999999999999999999999999999999999", "99999999999999999999999999999999999999"),
        ("0.00000000000000000000000000000000000000001", "0.00000000000000000000000000000000000000001"),
    ] {
        reads(text, canonical);
    }
    reads("1e125", &format!("1{}", "0".repeat(125)));
    reads("-1e-130", &format!("-0.{}1", "0".repeat(129)));
    reads(&format!("{}0", "1".repeat(38)), &format!("{}0", "1".repeat(38)));
    reads(&format!("1.{}", "0".repeat(5000)), "1");
    reads(&format!("0.{}", "0".repeat(5000)), "0");
    reads(&format!("{}1", "0".repeat(5000)), "1");
}

#[test]
fn refusals() {
    for text in [
        "",
        ".",
        "-",
        "+",
        " 5",
        "5 ",
        "abc",
        "--5",
        "1_0",
        "1e",
        "e5",
        "1e+",
        "0x10",
        "NaN",
        "Infinity",
        "1d",
        "1.2.3",
        "1e5.5",
        "1e99999999999",
        "0e99999999999",
        "5\n",
        "٣",
    ] {
        assert_eq!(Number::parse(text), Err(NumberError::NotNumeric(text.to_string())), "{text}");
    }
    assert_eq!(
        NumberError::NotNumeric("x".into()).to_string(),
        "The parameter cannot be converted to a numeric value: x"
    );
    assert_eq!(
        NumberError::NotNumeric(String::new()).to_string(),
        "The parameter cannot be converted to a numeric value"
    );
    let ones = "1".repeat(39);
    for (text, error) in [
        ("1e126", NumberError::Overflow),
        ("-1e126", NumberError::Overflow),
        ("10e125", NumberError::Overflow),
        ("1e2147483647", NumberError::Overflow),
        ("1e-131", NumberError::Underflow),
        ("1e-2147483647", NumberError::Underflow),
        ("0.9e-130", NumberError::Underflow),
        (ones.as_str(), NumberError::TooPrecise),
        (&format!("{ones}e200"), NumberError::Overflow),
        (&format!("{ones}e-200"), NumberError::Underflow),
        ("1.00000000000000000000000000000000000001", NumberError::TooPrecise),
    ] {
        assert_eq!(Number::parse(text), Err(error), "{text}");
    }
}

#[test]
fn sums() {
    let nines = "9".repeat(38);
    for (a, b, sum) in [
        ("1", "2", Ok("3")),
        ("1", "-1", Ok("0")),
        ("0.1", "0.2", Ok("0.3")),
        ("-5", "3", Ok("-2")),
        ("1e60", "0", Ok("1e60")),
        (nines.as_str(), "1", Ok("1e38")),
        ("1e38", "-1", Ok(nines.as_str())),
        ("1e39", "-1", Err(NumberError::TooPrecise)),
        ("1e60", "1", Err(NumberError::TooPrecise)),
        ("1e125", "1e-130", Err(NumberError::TooPrecise)),
        ("5e125", "5e125", Err(NumberError::Overflow)),
        ("-5e125", "-5e125", Err(NumberError::Overflow)),
        ("1e-130", "-1.1e-130", Err(NumberError::Underflow)),
        ("1.1e-130", "-1e-130", Err(NumberError::Underflow)),
        (nines.as_str(), "0.5", Err(NumberError::TooPrecise)),
        (nines.as_str(), nines.as_str(), Err(NumberError::TooPrecise)),
        ("4e38", "-1", Err(NumberError::TooPrecise)),
    ] {
        let [a, b] = [a, b].map(|n| Number::parse(n).unwrap());
        let sum = sum.map(|n| Number::parse(n).unwrap());
        assert_eq!(a.checked_add(&b), sum, "{a} + {b}");
        assert_eq!(b.checked_add(&a), sum, "{b} + {a}");
        assert_eq!(a.checked_sub(&-b), sum, "{a} - -{b}");
    }
}

#[test]
fn integers() {
    for value in [0, 1, -1, 10, 1000, i64::MAX, i64::MIN] {
        let number = Number::from(value);
        assert_eq!(number, Number::parse(&value.to_string()).unwrap());
        assert_eq!(number.to_i64(), Some(value));
    }
    assert_eq!(Number::from(u64::MAX).to_string(), u64::MAX.to_string());
    assert_eq!(Number::from(u64::MAX).to_i64(), None);
    assert_eq!(Number::parse("0.5").unwrap().to_i64(), None);
    assert_eq!(std::mem::size_of::<Number>(), 24);
}

/// A schoolbook decimal: digits in base ten, least significant first, at a fixed scale of 10^-200. Slow and
/// obvious.
#[derive(Clone, PartialEq, Debug)]
struct Schoolbook(bool, Vec<u8>);

const SCALE: usize = 200;

impl Schoolbook {
    fn of(negative: bool, digits: &[u8], exponent: i32) -> Self {
        let mut cells = vec![0u8; 400];
        for (i, digit) in digits.iter().rev().enumerate() {
            cells[(exponent + SCALE as i32) as usize + i] = *digit;
        }
        let zero = cells.iter().all(|d| *d == 0);
        Schoolbook(negative && !zero, cells)
    }
    fn cmp_magnitude(&self, other: &Self) -> Ordering {
        self.1.iter().rev().cmp(other.1.iter().rev())
    }
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.0, other.0) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => self.cmp_magnitude(other),
            (true, true) => other.cmp_magnitude(self),
        }
    }
    fn add(&self, other: &Self) -> Self {
        let mut cells = Vec::new();
        if self.0 == other.0 {
            let mut carry = 0;
            for (a, b) in self.1.iter().zip(&other.1) {
                carry += a + b;
                cells.push(carry % 10);
                carry /= 10;
            }
            return Schoolbook(self.0, cells);
        }
        let (large, small) = if self.cmp_magnitude(other).is_ge() { (self, other) } else { (other, self) };
        let mut borrow = 0;
        for (a, b) in large.1.iter().zip(&small.1) {
            let mut d = *a as i8 - *b as i8 - borrow;
            borrow = i8::from(d < 0);
            if d < 0 {
                d += 10;
            }
            cells.push(d as u8);
        }
        let zero = cells.iter().all(|d| *d == 0);
        Schoolbook(large.0 && !zero, cells)
    }
    /// The number, or the error that DynamoDB's limits give.
    fn number(&self) -> Result<String, ()> {
        let Some(top) = self.1.iter().rposition(|d| *d != 0) else { return Ok("0".into()) };
        let low = self.1.iter().position(|d| *d != 0).unwrap();
        let leading = top as i32 - SCALE as i32;
        if top - low + 1 > 38 || !(-130..=125).contains(&leading) {
            return Err(());
        }
        let mut text: Vec<char> =
            (low.min(SCALE)..=top.max(SCALE)).rev().map(|i| (b'0' + self.1[i]) as char).collect();
        if low < SCALE {
            text.insert(text.len() - (SCALE - low), '.');
        }
        let text: String = text.into_iter().collect();
        Ok(if self.0 { format!("-{text}") } else { text })
    }
}

/// Digits (some all zero), and an exponent that often lands close to the range's ends and to other numbers.
fn parts() -> impl Strategy<Value = (bool, Vec<u8>, i32)> {
    let exponent = prop_oneof![4 => -20i32..20, 1 => -180i32..130];
    (any::<bool>(), proptest::collection::vec(prop_oneof![0u8..10, Just(0u8), Just(9u8)], 1..39), exponent)
}

fn spelled((negative, digits, exponent): &(bool, Vec<u8>, i32)) -> String {
    let digits: String = digits.iter().map(|d| (b'0' + d) as char).collect();
    format!("{}{digits}e{exponent}", if *negative { "-" } else { "" })
}

proptest! {
    #[test]
    fn agrees_with_the_schoolbook(a in parts(), b in parts()) {
        let (school_a, school_b) = (Schoolbook::of(a.0, &a.1, a.2), Schoolbook::of(b.0, &b.1, b.2));
        let (number_a, number_b) = (Number::parse(&spelled(&a)), Number::parse(&spelled(&b)));
        prop_assert_eq!(number_a.clone().map(|n| n.to_string()).map_err(|_| ()), school_a.number());
        let (Ok(number_a), Ok(number_b)) = (number_a, number_b) else { return Ok(()) };
        prop_assert_eq!(number_a.cmp(&number_b), school_a.cmp(&school_b));
        prop_assert_eq!(number_a == number_b, school_a == school_b);
        let sum = number_a.checked_add(&number_b);
        prop_assert_eq!(sum.map(|n| n.to_string()).map_err(|_| ()), school_a.add(&school_b).number());
    }

    #[test]
    fn byte_forms_round_trip_and_order(a in parts(), b in parts()) {
        let (Ok(a), Ok(b)) = (Number::parse(&spelled(&a)), Number::parse(&spelled(&b))) else { return Ok(()) };
        let ordered = |n: &Number| { let mut out = Vec::new(); n.encode_ordered(&mut out); out };
        let (bytes_a, bytes_b) = (ordered(&a), ordered(&b));
        prop_assert_eq!(bytes_a.cmp(&bytes_b), a.cmp(&b));
        prop_assert!(bytes_a.len() <= encoding::MAX_ORDERED_BYTES);
        let mut joined = bytes_a.clone();
        joined.extend_from_slice(&bytes_b);
        prop_assert_eq!(Number::decode_ordered(&joined), Some((a, bytes_a.len())));
        for cut in 0..bytes_a.len() {
            prop_assert_eq!(Number::decode_ordered(&bytes_a[..cut]), None);
        }
        let mut compact = Vec::new();
        a.encode_compact(&mut compact);
        let length = compact.len();
        b.encode_compact(&mut compact);
        prop_assert_eq!(Number::decode_compact(&compact), Some((a, length)));
        for cut in 0..length {
            prop_assert_eq!(Number::decode_compact(&compact[..cut]), None);
        }
    }

    #[test]
    fn decoders_survive_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Some((number, read)) = Number::decode_ordered(&bytes) {
            let mut again = Vec::new();
            number.encode_ordered(&mut again);
            prop_assert_eq!(&bytes[..read], &again[..], "the ordered form is canonical");
        }
        let _ = Number::decode_compact(&bytes);
    }

    #[test]
    fn parse_survives_any_text(text in "[-+.eE0-9 ]{0,60}") {
        if let Ok(number) = Number::parse(&text) {
            prop_assert_eq!(Number::parse(&number.to_string()), Ok(number));
        }
    }
}
