//! Paths, query parameters and headers of the bucket HTTP interface.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::HeaderMap;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::time::Duration;
use torc_coordinator::bucket::{BucketError, Level, limits, parse_level};

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// `/kv`: all buckets.
    Root,
    /// `/kv/BUCKET`.
    Bucket(String),
    /// `/kv/BUCKET/KEY`; the key is everything after the bucket, slashes included.
    Key(String, Bytes),
}

/// Parses a path below `/kv`.
///
/// # Errors
/// A bad percent-escape, or a bucket's name that is not UTF-8.
pub fn resource(path: &str) -> Result<Resource, BucketError> {
    let rest = path.strip_prefix("/kv").unwrap_or(path);
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    if rest.is_empty() {
        return Ok(Resource::Root);
    }
    let (bucket, key) = rest.split_once('/').map_or((rest, None), |(bucket, key)| (bucket, Some(key)));
    let bucket = String::from_utf8(percent_decode(bucket)?).map_err(|_| {
        BucketError::invalid("the bucket's name is not UTF-8", "name buckets with letters, digits, _ - and .")
    })?;
    match key {
        None => Ok(Resource::Bucket(bucket)),
        Some(key) => Ok(Resource::Key(bucket, percent_decode(key)?.into())),
    }
}

/// Replaces `%XX` by the byte.
///
/// # Errors
/// A `%` without two hexadecimal digits.
pub fn percent_decode(text: &str) -> Result<Vec<u8>, BucketError> {
    let escaped = |rest: &str| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if !text.split('%').skip(1).all(escaped) {
        return Err(BucketError::invalid(
            "a percent sign in the path or query is not followed by two hexadecimal digits",
            "write a percent sign itself as %25",
        ));
    }
    Ok(percent_decode_str(text).collect())
}

/// The parameters: name in the query, and name of the header.
const KNOWN: [(&str, &str); 9] = [
    ("r", "x-torc-r"),
    ("w", "x-torc-w"),
    ("context", "x-torc-context"),
    ("ttl", "x-torc-ttl"),
    ("timeout_ms", "x-torc-timeout-ms"),
    ("operation", "x-torc-operation-id"),
    ("keys", ""),
    ("limit", ""),
    ("after", ""),
];

/// Parameters of one request: from the query, else from the header of the same meaning.
pub struct Params<'a> {
    query: Vec<(String, String)>,
    headers: &'a HeaderMap,
}

impl<'a> Params<'a> {
    /// Parses the query.
    ///
    /// # Errors
    /// A bad escape, text that is not UTF-8, or a parameter that does not exist.
    pub fn new(query: Option<&str>, headers: &'a HeaderMap) -> Result<Self, BucketError> {
        let mut parsed = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| {
                let bytes = percent_decode(&text.replace('+', "%20"))?;
                String::from_utf8(bytes).map_err(|_| {
                    BucketError::invalid("a query parameter is not UTF-8", "percent-encode UTF-8")
                })
            };
            let name = decode(name)?;
            if !KNOWN.iter().any(|(known, _)| *known == name) {
                let known: Vec<&str> = KNOWN.iter().map(|(known, _)| *known).collect();
                return Err(BucketError::invalid(
                    format!("there is no parameter {name:?}"),
                    format!("the parameters are {}", known.join(", ")),
                ));
            }
            parsed.push((name, decode(value)?));
        }
        Ok(Self { query: parsed, headers })
    }

    /// A parameter's text, if it was given and is not empty.
    pub fn get(&self, name: &str) -> Result<Option<Cow<'_, str>>, BucketError> {
        if let Some((_, value)) = self.query.iter().find(|(known, _)| known == name) {
            return Ok(Some(Cow::Borrowed(value.as_str())).filter(|value| !value.is_empty()));
        }
        let header = KNOWN.iter().find(|(known, _)| *known == name).map_or("", |(_, header)| *header);
        match self.headers.get(header).filter(|_| !header.is_empty()) {
            None => Ok(None),
            Some(value) => {
                let text = value.to_str().map_err(|_| {
                    BucketError::invalid(format!("the header {header} is not ASCII"), "send plain ASCII")
                })?;
                Ok(Some(Cow::Borrowed(text.trim())).filter(|value| !value.is_empty()))
            }
        }
    }

    /// `r` or `w`.
    pub fn level(&self, name: &str) -> Result<Option<Level>, BucketError> {
        self.get(name)?.map(|text| parse_level(&text)).transpose()
    }

    /// The causal context, decoded from base64url; empty if not given.
    pub fn context(&self) -> Result<Bytes, BucketError> {
        self.opaque("context", limits::MAX_CONTEXT_BYTES)
    }

    /// The page token to continue from; empty if not given.
    pub fn after(&self) -> Result<Bytes, BucketError> {
        self.opaque("after", limits::MAX_KEY_BYTES + 9)
    }

    fn opaque(&self, name: &str, most: usize) -> Result<Bytes, BucketError> {
        let Some(text) = self.get(name)? else { return Ok(Bytes::new()) };
        let bad = || {
            BucketError::invalid(
                format!("the {name} is not one that this server gave out"),
                "send it unchanged, as it came",
            )
        };
        if text.len() > most * 4 / 3 + 4 {
            return Err(bad());
        }
        URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map(Bytes::from).map_err(|_| bad())
    }

    /// A whole number.
    pub fn number(&self, name: &str) -> Result<Option<u64>, BucketError> {
        let Some(text) = self.get(name)? else { return Ok(None) };
        match text.parse() {
            Ok(number) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Some(number)),
            _ => {
                Err(BucketError::invalid(format!("{name}={text} is not a whole number"), "write digits only"))
            }
        }
    }

    /// Time to live, given in seconds.
    pub fn ttl(&self) -> Result<Option<Duration>, BucketError> {
        match self.number("ttl")? {
            Some(0) => Err(BucketError::invalid(
                "ttl=0 would store a value that is never shown",
                "give the seconds to live, or leave it out",
            )),
            seconds => Ok(seconds.map(Duration::from_secs)),
        }
    }

    /// How long the caller waits.
    pub fn deadline(&self) -> Result<Option<Duration>, BucketError> {
        match self.number("timeout_ms")? {
            Some(0) => Err(BucketError::invalid("timeout_ms=0 leaves no time", "give at least 1")),
            ms => Ok(ms.map(Duration::from_millis)),
        }
    }

    /// The operation's id: up to 16 bytes in hexadecimal, dashes allowed, so that a UUID will do. 0 if not
    /// given.
    pub fn operation(&self) -> Result<u64, BucketError> {
        let Some(text) = self.get("operation")? else { return Ok(0) };
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        match u128::from_str_radix(&digits, 16) {
            // Never 0, which would mean no id.
            Ok(id) if digits.len() <= 32 && !digits.starts_with('+') => {
                Ok(((id >> 64) as u64 ^ id as u64).max(1))
            }
            _ => Err(BucketError::invalid(
                format!("{text:?} is not an operation id"),
                "send a UUID, or up to 32 hexadecimal digits",
            )),
        }
    }
}

/// Base64url without padding.
pub fn encode_opaque(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
