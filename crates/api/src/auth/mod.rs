//! AWS Signature Version 4: the sender of a request proves that it knows a key that the node also knows.
//!
//! The DynamoDB protocol calls this before it looks at an operation, and the server calls it for the other
//! protocols. `canonical` builds the form that was signed, `time` reads the times of a signature, `basic`
//! accepts the key itself where a protocol allows that. This file holds the order of the checks.
//!
//! Without configured keys every request passes. Such a node must listen on loopback only; the binary
//! enforces that. No key and no signature is ever logged or returned.

mod basic;
mod canonical;
mod time;

pub use basic::refusal;
pub(crate) use canonical::parameters;

use bytes::Bytes;
use canonical::Signed;
use hmac::{Hmac, Mac};
use http::Request;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use torc_model::{ApiError, ErrorCode};

/// The access keys that are admitted: secret by id.
#[derive(Clone, Default)]
pub struct AccessKeys {
    secrets: BTreeMap<String, String>,
    /// The last signing key of each access key, with the scope that it is for: clients sign all day with one.
    signing: Arc<Mutex<BTreeMap<String, (String, Vec<u8>)>>>,
}

/// The only algorithm.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// What every credential scope ends with.
const TERMINATOR: &str = "aws4_request";
/// The service that requests are signed for, but those to STS.
pub(crate) const SERVICE: &str = "dynamodb";
/// How far the clocks of client and node may be apart, seconds.
const MAX_SKEW_S: u64 = 15 * 60;
/// Longest validity of a presigned request, seconds.
const MAX_EXPIRES_S: u64 = 7 * 24 * 60 * 60;
/// Most configured keys.
const MAX_KEYS: usize = 1000;

impl std::fmt::Debug for AccessKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKeys").field("count", &self.secrets.len()).finish_non_exhaustive()
    }
}

impl AccessKeys {
    /// Reads `ID:SECRET` pairs, separated by commas or white space.
    ///
    /// # Errors
    /// Says which pair (by its place, never its text) is not one, or that an id is there twice.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut secrets = BTreeMap::new();
        let pairs = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|pair| !pair.is_empty());
        for (place, pair) in (1..).zip(pairs) {
            let (id, secret) = pair
                .split_once(':')
                .filter(|(id, secret)| !id.is_empty() && !secret.is_empty() && !id.contains('/'))
                .ok_or_else(|| format!("access key {place} is not ID:SECRET"))?;
            if secrets.insert(id.to_string(), secret.to_string()).is_some() {
                return Err(format!("access key {place} has the id of an earlier one"));
            }
        }
        if secrets.len() > MAX_KEYS {
            return Err(format!("at most {MAX_KEYS} access keys"));
        }
        Ok(Self { secrets, ..Self::default() })
    }

    /// Whether there are none, so that every request is admitted.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// Checks the signature of a request. `now_ms` is the wall clock, milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// `MissingAuthenticationTokenException`, `IncompleteSignatureException`, `UnrecognizedClientException` or
    /// `InvalidSignatureException`.
    pub fn verify(&self, request: &Request<Bytes>, now_ms: u64) -> Result<(), ApiError> {
        self.signer(request, now_ms, SERVICE).map(drop)
    }

    /// Checks what can be checked of a request for DynamoDB before its body is read: all but the signature itself, and that too where the
    /// client signed the body's hash in a header. The whole is checked again with the body.
    ///
    /// # Errors
    /// As [`AccessKeys::verify`].
    pub fn precheck<B>(&self, request: &Request<B>, now_ms: u64) -> Result<(), ApiError> {
        if self.is_empty() {
            return Ok(());
        }
        let signed = Signed::of(request)?;
        let scope = Scope::parse(&signed.credential)?;
        check_time(&signed, now_ms / 1000)?;
        scope.check(&signed, SERVICE)?;
        signed.check_covered(request)?;
        let secret = self.secrets.get(scope.key_id).ok_or_else(unknown)?;
        match signed.announced_hash(request) {
            Some(hash)
                if !self.is_signed(&signed, &scope, Some(secret), &signed.canonical(request, hash)) =>
            {
                Err(mismatch())
            }
            _ => Ok(()),
        }
    }

    /// Whether the signature is that of a canonical request, made with this secret.
    fn is_signed(
        &self,
        signed: &Signed,
        scope: &Scope<'_>,
        secret: Option<&String>,
        canonical: &str,
    ) -> bool {
        let text = format!(
            "{ALGORITHM}\n{}\n{}/{}/{}/{TERMINATOR}\n{}",
            signed.date,
            scope.date,
            scope.region,
            scope.service,
            hex::encode(Sha256::digest(canonical.as_bytes()))
        );
        let key = match secret {
            Some(secret) => self.signing_key(scope, secret),
            None => scope.signing_key(""),
        };
        let given = hex::decode(&signed.signature).unwrap_or_default();
        // Compares in constant time.
        keyed(&key, text.as_bytes()).verify_slice(&given).is_ok()
    }

    /// Checks the signature of a request to `service` and returns the id of the key that made it; `None` where there are no keys.
    ///
    /// # Errors
    /// As [`AccessKeys::verify`].
    pub fn signer(
        &self,
        request: &Request<Bytes>,
        now_ms: u64,
        service: &str,
    ) -> Result<Option<&str>, ApiError> {
        if self.is_empty() {
            return Ok(None);
        }
        let signed = Signed::of(request)?;
        let scope = Scope::parse(&signed.credential)?;
        // Expiry is checked first, so an expired request gets that error even if its scope is wrong too. No
        // AWS document settles which comes first.
        check_time(&signed, now_ms / 1000)?;
        scope.check(&signed, service)?;
        signed.check_covered(request)?;
        // An unknown key costs the same work as a known one.
        let key = self.secrets.get_key_value(scope.key_id);
        let secret = key.map(|(_, secret)| secret);
        let matches = self.is_signed(&signed, &scope, secret, &signed.canonical_request(request));
        match (key, matches) {
            (None, _) => Err(unknown()),
            (Some((id, _)), true) => Ok(Some(id)),
            (Some(_), false) => Err(mismatch()),
        }
    }
}

impl AccessKeys {
    fn signing_key(&self, scope: &Scope<'_>, secret: &str) -> Vec<u8> {
        let name = format!("{}/{}/{}", scope.date, scope.region, scope.service);
        if let Some((_, key)) = self.signing.lock().get(scope.key_id).filter(|(known, _)| *known == name) {
            return key.clone();
        }
        let key = scope.signing_key(secret);
        self.signing.lock().insert(scope.key_id.to_owned(), (name, key.clone()));
        key
    }
}

fn unknown() -> ApiError {
    ApiError::new(ErrorCode::UnrecognizedClient, "The security token included in the request is invalid.")
}

fn mismatch() -> ApiError {
    invalid(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
    )
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidSignature, message)
}

fn incomplete(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::IncompleteSignature, message)
}

fn keyed(key: &[u8], text: &[u8]) -> Hmac<Sha256> {
    // HMAC takes keys of any length; the alternative key is never used.
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key)
        .unwrap_or_else(|_| <Hmac<Sha256> as Mac>::new(&Default::default()));
    mac.update(text);
    mac
}

/// `id/date/region/service/aws4_request`.
struct Scope<'a> {
    key_id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    terminator: &'a str,
}

impl<'a> Scope<'a> {
    fn parse(credential: &'a str) -> Result<Self, ApiError> {
        let parts: Vec<&str> = credential.split('/').collect();
        match parts[..] {
            [key_id, date, region, service, terminator] => {
                Ok(Self { key_id, date, region, service, terminator })
            }
            _ => Err(incomplete(format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{credential}'"
            ))),
        }
    }

    /// The region may be any: there is one of each, and clients name the one they are set to.
    fn check(&self, signed: &Signed, service: &str) -> Result<(), ApiError> {
        if self.terminator != TERMINATOR {
            return Err(invalid(format!(
                "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{}'.",
                self.terminator
            )));
        }
        if self.service != service {
            return Err(invalid(format!("Credential should be scoped to correct service: '{service}'. ")));
        }
        let day = signed.date.get(..8).unwrap_or_default();
        if self.date != day {
            return Err(invalid(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' != '{day}', from '{}'.",
                self.date, signed.date
            )));
        }
        Ok(())
    }

    fn signing_key(&self, secret: &str) -> Vec<u8> {
        let mut key = format!("AWS4{secret}").into_bytes();
        for part in [self.date, self.region, self.service, TERMINATOR] {
            key = keyed(&key, part.as_bytes()).finalize().into_bytes().to_vec();
        }
        key
    }
}

fn check_time(signed: &Signed, now_s: u64) -> Result<(), ApiError> {
    let at = time::parse(&signed.date).ok_or_else(|| {
        incomplete(format!(
            "Date must be in ISO-8601 'basic format'. Got '{}'. See http://en.wikipedia.org/wiki/ISO_8601",
            signed.date
        ))
    })?;
    let (date, now) = (&signed.date, time::format(now_s));
    if at > now_s + MAX_SKEW_S {
        let latest = time::format(now_s + MAX_SKEW_S);
        return Err(invalid(format!(
            "Signature not yet current: {date} is still later than {latest} ({now} + 15 min.)"
        )));
    }
    match signed.expires_s {
        None if at + MAX_SKEW_S < now_s => {
            let earliest = time::format(now_s - MAX_SKEW_S);
            Err(invalid(format!(
                "Signature expired: {date} is now earlier than {earliest} ({now} - 15 min.)"
            )))
        }
        Some(expires) if expires == 0 || expires > MAX_EXPIRES_S => Err(incomplete(
            "X-Amz-Expires must be greater than 0 and less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds",
        )),
        Some(expires) if at + expires < now_s => Err(invalid(format!(
            "Signature expired: {} is now earlier than {now}",
            time::format(at + expires)
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
