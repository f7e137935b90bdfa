//! The times of signatures: `YYYYMMDD'T'HHMMSS'Z'`.

use crate::calendar;

/// Seconds since the Unix epoch; `None` for anything else, and for years before 1970.
pub(super) fn parse(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes.get(8) != Some(&b'T') || bytes.get(15) != Some(&b'Z') {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = text.get(from..to).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
        digits.parse().ok()
    };
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = calendar::days(year, month, day)?;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// The text of a time.
pub(super) fn format(at_s: u64) -> String {
    let (days, rest) = (at_s / 86_400, at_s % 86_400);
    let (year, month, day) = calendar::date(days);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip() {
        for (text, at) in [
            ("19700101T000000Z", 0),
            ("20000229T235959Z", 951_868_799),
            ("20150830T123600Z", 1_440_938_160),
            ("20260301T000000Z", 1_772_323_200),
            ("21000228T235959Z", 4_107_542_399),
            ("23700101T000000Z", 12_622_780_800),
            ("99991231T235959Z", 253_402_300_799),
        ] {
            assert_eq!((parse(text), format(at)), (Some(at), text.to_string()));
        }
        for at in (0..4_000_000_000).step_by(86_399 * 11) {
            assert_eq!(parse(&format(at)), Some(at));
        }
        // Far beyond any clock, and done at once.
        assert!(format(u64::MAX).ends_with('Z'));
        for text in [
            "",
            "20150830",
            "20150830T123600",
            "20151330T123600Z",
            "2015083OT123600Z",
            "20150830T+23600Z",
            "19691231T235959Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
