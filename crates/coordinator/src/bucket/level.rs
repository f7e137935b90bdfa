//! Consistency levels as clients write them.

use super::error::BucketError;
use torc_cluster::topology::Level;

const HINT: &str = "use ONE, TWO, THREE, QUORUM, ALL or a number of replicas";

/// Parses a level, in any case: `ONE TWO THREE QUORUM ALL` or a number.
///
/// # Errors
/// Anything else; says what is allowed.
pub fn parse_level(text: &str) -> Result<Level, BucketError> {
    Ok(match text.to_ascii_uppercase().as_str() {
        "ONE" => Level::One,
        "TWO" => Level::Count(2),
        "THREE" => Level::Count(3),
        "QUORUM" => Level::Quorum,
        "ALL" => Level::All,
        "LOCAL_ONE" | "LOCAL_QUORUM" | "EACH_QUORUM" => {
            return Err(BucketError::invalid(
                format!("the level {text} needs several data centres, which this version does not have"),
                HINT,
            ));
        }
        number => match number.parse::<u32>() {
            Ok(count) if count >= 1 && number.bytes().all(|byte| byte.is_ascii_digit()) => {
                Level::Count(count)
            }
            _ => return Err(BucketError::invalid(format!("{text:?} is not a consistency level"), HINT)),
        },
    })
}

/// The word for a level.
pub fn level_name(level: Level) -> String {
    match level {
        Level::One => "ONE".into(),
        Level::Quorum => "QUORUM".into(),
        Level::All => "ALL".into(),
        Level::Count(count) => count.to_string(),
    }
}

/// How many of `replicas` a level needs.
///
/// # Errors
/// More than there are.
pub fn needed(level: Level, replicas: usize, what: &str) -> Result<usize, BucketError> {
    let replicas_u32 = u32::try_from(replicas).unwrap_or(u32::MAX);
    match level {
        Level::Count(count) if count > replicas_u32 => Err(BucketError::invalid(
            format!("{what}={count} is more than the {replicas} replica(s) of this key"),
            HINT,
        )),
        level => Ok(level.needed(replicas_u32) as usize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers() {
        for (text, expected) in [
            ("ONE", Some(Level::One)),
            ("quorum", Some(Level::Quorum)),
            ("All", Some(Level::All)),
            ("two", Some(Level::Count(2))),
            ("THREE", Some(Level::Count(3))),
            ("1", Some(Level::Count(1))),
            ("0", None),
            ("-1", None),
            ("+2", None),
            ("", None),
            ("most", None),
            ("99999999999", None),
            ("LOCAL_QUORUM", None),
        ] {
            assert_eq!(parse_level(text).ok(), expected, "{text}");
        }
        assert_eq!(needed(Level::Quorum, 3, "w"), Ok(2));
        assert_eq!(needed(Level::Quorum, 1, "w"), Ok(1));
        assert_eq!(needed(Level::All, 5, "w"), Ok(5));
        assert!(needed(Level::Count(4), 3, "w").is_err());
    }
}
