//! Numbers: two of them, separated by a line end.

use super::{Target, texts};
use torc_model::Number;

pub const NUMBER: Target = Target {
    name: "number",
    seeds,
    dictionary: &[
        "e",
        "E+",
        "-0",
        ".",
        "0",
        "00000000",
        "99999999999999999999999999999999999999",
        "E-130",
        "E125",
        "E+126",
    ],
    run,
};

fn seeds() -> Vec<Vec<u8>> {
    texts(&[
        "0\n-0",
        "1\n-1",
        "12345678901234567890123456789012345678\n0.00000000000000000000000000000000000001",
        "9.9999999999999999999999999999999999999E+125\n1E-130",
        "-9.9999999999999999999999999999999999999E+125\n-1E-130",
        "100e-2\n1.000",
        "  7 \n+.5e+3",
    ])
}

fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (left, right) = text.split_once('\n').unwrap_or((text, "1"));
    let (left, right) = (Number::parse(left), Number::parse(right));
    for number in [&left, &right].into_iter().flatten() {
        round_trips(*number);
    }
    let (Ok(left), Ok(right)) = (left, right) else { return };
    let ordered = |number: Number| {
        let mut out = Vec::new();
        number.encode_ordered(&mut out);
        out
    };
    assert_eq!(left.cmp(&right), ordered(left).cmp(&ordered(right)), "byte order is not numeric order");
    assert_eq!(left == right, left.cmp(&right).is_eq());
    // A sum that fits is exact: taking one part away leaves the other.
    if let Ok(sum) = left.checked_add(&right) {
        round_trips(sum);
        assert_eq!(right.checked_add(&left), Ok(sum));
        if let Ok(back) = sum.checked_sub(&right) {
            assert_eq!(back, left);
        }
        if right > Number::ZERO {
            assert!(sum > left);
        }
    }
}

fn round_trips(number: Number) {
    let mut text = Vec::new();
    number.write_to(&mut text);
    let text = String::from_utf8(text).expect("a number is written in ASCII");
    assert_eq!(Number::parse(&text), Ok(number), "{text}");
    let mut bytes = Vec::new();
    number.encode_ordered(&mut bytes);
    let ordered = bytes.len();
    assert_eq!(Number::decode_ordered(&bytes), Some((number, ordered)));
    bytes.clear();
    number.encode_compact(&mut bytes);
    assert_eq!(Number::decode_compact(&bytes), Some((number, bytes.len())));
    assert!((1..=21).contains(&number.size_bytes()));
}
