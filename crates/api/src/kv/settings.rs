//! A bucket's settings as JSON.

use serde::Deserialize;
use serde_json::{Value, json};
use torc_coordinator::bucket::level::level_name;
use torc_coordinator::bucket::{
    BucketConfig, BucketError, BucketInfo, BucketPolicy, Level, limits, parse_level,
};

/// The body of `PUT /kv/BUCKET`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    n: Option<u32>,
    r: Option<Value>,
    w: Option<Value>,
    policy: Option<String>,
}

/// Settings that nobody has to give.
pub const DEFAULT: BucketConfig =
    BucketConfig { n: 3, read: Level::Quorum, write: Level::Quorum, policy: BucketPolicy::Siblings };

/// Parses settings; an empty body gives the defaults.
///
/// # Errors
/// Anything that is not the object described in docs/protocols/buckets.md.
pub fn parse(body: &[u8]) -> Result<BucketConfig, BucketError> {
    const HINT: &str = r#"send for instance {"n": 3, "r": "QUORUM", "w": 2, "policy": "siblings"}; every field may be left out"#;
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(DEFAULT);
    }
    let body: Body = serde_json::from_slice(body).map_err(|error| {
        BucketError::invalid(format!("the bucket's settings cannot be read: {error}"), HINT)
    })?;
    let level = |value: Option<Value>, default: Level| match value {
        None | Some(Value::Null) => Ok(default),
        Some(Value::String(text)) => parse_level(&text),
        Some(Value::Number(number)) => parse_level(&number.to_string()),
        Some(_) => Err(BucketError::invalid("r and w are levels", HINT)),
    };
    let policy = body.policy.as_deref().map_or(Ok(DEFAULT.policy), parse_policy)?;
    let config = BucketConfig {
        n: body.n.unwrap_or(DEFAULT.n),
        read: level(body.r, DEFAULT.read)?,
        write: level(body.w, DEFAULT.write)?,
        policy,
    };
    check(config)
}

/// Refuses settings that no bucket can have.
pub fn check(config: BucketConfig) -> Result<BucketConfig, BucketError> {
    if !(1..=limits::MAX_REPLICAS).contains(&config.n) {
        return Err(BucketError::invalid(
            format!("n={} is out of range", config.n),
            format!("n is 1 to {}", limits::MAX_REPLICAS),
        ));
    }
    for (name, level) in [("r", config.read), ("w", config.write)] {
        if matches!(level, Level::Count(count) if count > config.n) {
            return Err(BucketError::invalid(
                format!("{name}={} is more than n={}", level_name(level), config.n),
                "choose ONE, QUORUM, ALL or a number up to n",
            ));
        }
    }
    Ok(config)
}

/// Parses a policy's name.
pub fn parse_policy(text: &str) -> Result<BucketPolicy, BucketError> {
    match text.to_ascii_lowercase().replace('_', "-").as_str() {
        "siblings" => Ok(BucketPolicy::Siblings),
        "last-writer-wins" | "lww" => Ok(BucketPolicy::LastWriterWins),
        _ => Err(BucketError::invalid(
            format!("{text:?} is not a conflict policy"),
            "use siblings or last-writer-wins",
        )),
    }
}

/// A policy's name.
pub fn policy_name(policy: BucketPolicy) -> &'static str {
    match policy {
        BucketPolicy::Siblings => "siblings",
        BucketPolicy::LastWriterWins => "last-writer-wins",
        BucketPolicy::Crdt(_) => "crdt",
    }
}

/// A bucket as JSON.
pub fn describe(info: &BucketInfo) -> Value {
    json!({
        "name": info.name,
        "id": info.id,
        "n": info.config.n,
        "r": level_name(info.config.read),
        "w": level_name(info.config.write),
        "policy": policy_name(info.config.policy),
        "partitions": info.partitions,
        "created_ms": info.created_ms,
    })
}
