//! The canonical form of a request, which is signed, and the place of the signature: the `Authorization`
//! header or the query.

use super::{ALGORITHM, incomplete};
use crate::escape;
use bytes::Bytes;
use http::{HeaderMap, Request, header};
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use torc_model::{ApiError, ErrorCode};

/// Where clients may tell the hash of the body.
const CONTENT_HASH: &str = "x-amz-content-sha256";
/// Most signed headers.
const MAX_SIGNED_HEADERS: usize = 100;

/// A signature and what it says of itself.
pub(super) struct Signed {
    /// `id/date/region/service/aws4_request`.
    pub credential: String,
    /// Names of the headers it covers, in the order given.
    pub headers: Vec<String>,
    /// Hexadecimal.
    pub signature: String,
    /// The time of signing, as given.
    pub date: String,
    /// Seconds for which a presigned request holds; `None` for a header.
    pub expires_s: Option<u64>,
}

impl Signed {
    /// Finds the signature of a request.
    ///
    /// # Errors
    /// `MissingAuthenticationTokenException` or `IncompleteSignatureException`.
    pub fn of<B>(request: &Request<B>) -> Result<Self, ApiError> {
        // The signed form has `/` for no path: a target that is only an authority would pass for the root.
        if !request.uri().path().starts_with('/') {
            return Err(incomplete("The target of the request has no path."));
        }
        if let Some(value) = request.headers().get(header::AUTHORIZATION) {
            let value = value.to_str().map_err(|_| incomplete("Authorization header is not ASCII"))?;
            return Self::of_header(value, request.headers());
        }
        let query = query(request);
        if query.iter().any(|(name, _)| name == "X-Amz-Algorithm") {
            return Self::of_query(&query);
        }
        Err(ApiError::new(ErrorCode::MissingAuthenticationToken, "Request is missing Authentication Token"))
    }

    fn of_header(value: &str, headers: &HeaderMap) -> Result<Self, ApiError> {
        let Some(rest) = value.strip_prefix(ALGORITHM).filter(|rest| rest.starts_with(' ')) else {
            return Err(incomplete(format!("Unsupported AWS 'algorithm': expected '{ALGORITHM}'")));
        };
        // Commas stand between the parts (General Reference, Create a signed AWS API request, step 5); blanks alone are taken too.
        let part = |name: &str| {
            let apart = |c: char| c == ',' || c.is_ascii_whitespace();
            let parts = rest.split(apart).filter_map(|part| part.split_once('='));
            parts.filter(|(key, _)| *key == name).map(|(_, value)| value.to_string()).next()
        };
        let date = headers.get("x-amz-date").or_else(|| headers.get(header::DATE));
        let date = date.and_then(|value| value.to_str().ok()).map(str::to_string);
        let (credential, signed, signature) = (part("Credential"), part("SignedHeaders"), part("Signature"));
        let mut faults = String::new();
        for (name, value) in
            [("Credential", &credential), ("Signature", &signature), ("SignedHeaders", &signed)]
        {
            if value.is_none() {
                faults.push_str(&format!("Authorization header requires '{name}' parameter. "));
            }
        }
        if date.is_none() {
            faults.push_str(
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ",
            );
        }
        match (credential, signed, signature, date) {
            (Some(credential), Some(signed), Some(signature), Some(date)) => {
                Ok(Self { credential, headers: names(&signed)?, signature, date, expires_s: None })
            }
            _ => Err(incomplete(faults.trim_end())),
        }
    }

    fn of_query(query: &[(String, String)]) -> Result<Self, ApiError> {
        let part = |name: &str| {
            let found = query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
            found.ok_or_else(|| incomplete(format!("AWS query-string parameters must include '{name}'.")))
        };
        if part("X-Amz-Algorithm")? != ALGORITHM {
            return Err(incomplete(format!("Unsupported AWS 'algorithm': expected '{ALGORITHM}'")));
        }
        let expires = part("X-Amz-Expires")?;
        Ok(Self {
            credential: part("X-Amz-Credential")?,
            headers: names(&part("X-Amz-SignedHeaders")?)?,
            signature: part("X-Amz-Signature")?,
            date: part("X-Amz-Date")?,
            expires_s: Some(expires.parse().map_err(|_| incomplete("X-Amz-Expires should be a number"))?),
        })
    }

    /// The signature must cover where the request goes and what it asks for: else it could be turned into another.
    ///
    /// # Errors
    /// `IncompleteSignatureException` that names the header.
    pub fn check_covered<B>(&self, request: &Request<B>) -> Result<(), ApiError> {
        let covered = |name: &str| self.headers.iter().any(|header| header == name);
        if !covered("host") && !covered(":authority") {
            return Err(super::invalid(
                "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
            ));
        }
        if request.headers().contains_key("x-amz-target") && !covered("x-amz-target") {
            return Err(super::invalid("'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization."));
        }
        // The parameters of bucket requests may stand in headers.
        let mut ours =
            request.headers().keys().map(http::HeaderName::as_str).filter(|name| name.starts_with("x-torc-"));
        if let Some(name) = ours.find(|name| !covered(name)) {
            return Err(super::invalid(format!(
                "'{name}' must be a 'SignedHeader' in the AWS Authorization."
            )));
        }
        Ok(())
    }

    /// The hash of the body as a signed header tells it.
    pub fn announced_hash<'r, B>(&self, request: &'r Request<B>) -> Option<&'r str> {
        self.headers.iter().find(|name| *name == CONTENT_HASH)?;
        let hash = request.headers().get(CONTENT_HASH)?.to_str().ok()?;
        (hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit())).then_some(hash)
    }

    /// What was signed of a request whose body is here.
    pub fn canonical_request(&self, request: &Request<Bytes>) -> String {
        self.canonical(request, &hex::encode(Sha256::digest(request.body())))
    }

    /// Method, path, query, covered headers and the hash of the body, a line each.
    pub fn canonical<B>(&self, request: &Request<B>, body_hash: &str) -> String {
        let mut out = format!("{}\n{}\n", request.method(), path(request.uri().path()));
        let mut pairs: Vec<String> = query(request)
            .iter()
            .filter(|(name, _)| self.expires_s.is_none() || name != "X-Amz-Signature")
            .map(|(name, value)| {
                format!("{}={}", escape::segment(name.as_bytes()), escape::segment(value.as_bytes()))
            })
            .collect();
        pairs.sort_unstable();
        out.push_str(&pairs.join("&"));
        out.push('\n');
        for name in &self.headers {
            out.push_str(name);
            out.push(':');
            out.push_str(&header_value(request, name));
            out.push('\n');
        }
        out.push('\n');
        out.push_str(&self.headers.join(";"));
        out.push('\n');
        out.push_str(body_hash);
        out
    }
}

fn names(list: &str) -> Result<Vec<String>, ApiError> {
    let names: Vec<String> = list.split(';').map(str::to_string).collect();
    if names.len() > MAX_SIGNED_HEADERS {
        return Err(incomplete(format!("at most {MAX_SIGNED_HEADERS} signed headers")));
    }
    Ok(names)
}

/// The values of a header, without white space around and with single spaces within, apart by commas.
fn header_value<B>(request: &Request<B>, name: &str) -> String {
    let values: Vec<String> = request
        .headers()
        .get_all(name)
        .iter()
        .map(|value| {
            let text = String::from_utf8_lossy(value.as_bytes());
            text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ").trim().to_string()
        })
        .collect();
    if values.is_empty() && (name == "host" || name == ":authority") {
        // HTTP/2 has it in the target.
        return request.uri().authority().map(ToString::to_string).unwrap_or_default();
    }
    values.join(",")
}

/// The path, each segment encoded once more than it came.
fn path(path: &str) -> String {
    if path.is_empty() { "/".into() } else { escape::path(path.as_bytes()).to_string() }
}

/// The query's parameters, decoded.
fn query<B>(request: &Request<B>) -> Vec<(String, String)> {
    parameters(request.uri().query().unwrap_or_default())
}

/// `name=value&...`, decoded.
pub(crate) fn parameters(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

/// Decodes percent-escapes. A `%` that starts no escape stays as it is.
fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
