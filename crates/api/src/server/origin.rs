//! Which pages of which web sites may use this port through a visitor's browser.
//!
//! A browser sends a page's requests to any address, a laptop's loopback included, and says in `Origin` whose page it is. An open node
//! (without access keys) would serve them all, so it refuses every request of another origin before anything is read or done, unless
//! that origin was allowed. Refusing only the CORS grant would not do: it hides the answer, but the request has been served by then.
//! A page can also get its own name to point at 127.0.0.1 ("DNS rebinding"): then the browser takes both for one origin. So an open node
//! on loopback serves only requests whose `Host` is a name that nobody can register.

use http::{HeaderMap, HeaderValue, Request, header};

/// The origins whose pages may use this port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// Only pages that this port served itself.
    #[default]
    Own,
    /// These too, as browsers write them: `scheme://host[:port]`.
    Named(Vec<String>),
    /// Any.
    Any,
}

impl Origins {
    /// Reads a list apart by commas; `*` stands for any.
    ///
    /// # Errors
    /// Says which entry is no origin.
    pub fn parse(text: &str) -> Result<Self, String> {
        let entries: Vec<&str> = text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
        if entries.contains(&"*") {
            return Ok(Self::Any);
        }
        for entry in &entries {
            let host = entry.split_once("://").map(|(_, host)| host);
            if host.is_none_or(|host| host.is_empty() || host.contains(['/', '*'])) {
                return Err(format!("{entry:?} is not an origin such as http://localhost:3000"));
            }
        }
        Ok(match entries.is_empty() {
            true => Self::Own,
            false => Self::Named(entries.iter().map(|entry| entry.to_ascii_lowercase()).collect()),
        })
    }

    fn allow(&self, origin: &str) -> bool {
        match self {
            Self::Own => false,
            Self::Named(named) => named.iter().any(|one| one.eq_ignore_ascii_case(origin)),
            Self::Any => true,
        }
    }
}

/// Who may come in by browser.
#[derive(Clone, Debug, Default)]
pub struct Doorkeeper {
    /// Origins that were allowed.
    pub origins: Origins,
    /// Every request is served, without a signature.
    pub open: bool,
    /// The port is reached from this machine only.
    pub loopback: bool,
    /// Host names that are this node's, beside those that nobody can register.
    pub names: Vec<String>,
}

/// Why a request is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

impl Doorkeeper {
    /// Whether a request may be served, and the origin that gets a CORS grant with the answer.
    ///
    /// # Errors
    /// What the client did wrong, and how a node is told to allow it.
    pub fn check<B>(&self, request: &Request<B>) -> Result<Option<HeaderValue>, Refused> {
        let host = host(request);
        if self.open
            && self.loopback
            && let Some(host) = host
            && !self.is_own_name(name_of(host))
        {
            return Err(Refused(format!(
                "this node has no access keys and serves requests to this machine's own names only, not to {host:?}: set access keys, or \
                 use 127.0.0.1 or localhost"
            )));
        }
        let Some(origin) = request.headers().get(header::ORIGIN) else { return Ok(None) };
        let text = origin.to_str().unwrap_or_default();
        if self.origins.allow(text) {
            return Ok(Some(origin.clone()));
        }
        let own = host.is_some_and(|host| {
            text.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
        });
        if own {
            return Ok(None);
        }
        if !self.open {
            // A page of another origin has no key unless its user gave it one, and DynamoDB serves such pages. The grant covers no
            // credentials that the browser keeps, so what it sends along by itself proves nothing.
            return match request.headers().get(header::AUTHORIZATION) {
                Some(value) if value.as_bytes().starts_with(b"Basic ") => Err(refused(text)),
                _ => Ok(Some(HeaderValue::from_static("*"))),
            };
        }
        Err(refused(text))
    }

    fn is_own_name(&self, name: &str) -> bool {
        let ip = name.trim_start_matches('[').trim_end_matches(']');
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        ip.parse::<std::net::IpAddr>().is_ok()
            || !name.contains('.')
            || RESERVED.iter().any(|suffix| name.ends_with(suffix))
            || self.names.iter().any(|own| own.eq_ignore_ascii_case(&name))
    }
}

/// Ends of names that no stranger can register: RFC 6761, RFC 6762, RFC 8375, ICANN's `.internal`, and AWS's own.
const RESERVED: [&str; 6] = [".localhost", ".local", ".internal", ".test", ".home.arpa", ".amazonaws.com"];

fn refused(origin: &str) -> Refused {
    Refused(format!(
        "pages of the origin {origin:?} may not use this node: start it with --allow-origin {origin} to allow them"
    ))
}

/// The authority that the request names, port included.
fn host<B>(request: &Request<B>) -> Option<&str> {
    let named = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    named.or_else(|| request.uri().authority().map(|authority| authority.as_str()))
}

/// A `host:port` without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

/// What scripts of other origins may read.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("x-amzn-RequestId,x-amzn-ErrorType,x-amzn-ErrorMessage,x-amz-crc32,Date");

/// Adds the grant to an answer's headers.
pub(super) fn grant(headers: &mut HeaderMap, origin: HeaderValue) {
    if origin != "*" {
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(host: &str, origin: Option<&str>) -> Request<()> {
        let mut request = Request::builder().uri("/").header("host", host);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        request.body(()).unwrap()
    }

    fn open() -> Doorkeeper {
        Doorkeeper { open: true, loopback: true, ..Doorkeeper::default() }
    }

    #[test]
    fn pages_of_other_origins_are_refused_by_an_open_node() {
        let door = open();
        assert_eq!(door.check(&request("localhost:8000", None)), Ok(None));
        assert_eq!(door.check(&request("localhost:8000", Some("http://localhost:8000"))), Ok(None));
        for origin in ["http://evil.example", "null", "http://localhost:3000", "http://localhost:80001", ""] {
            assert!(door.check(&request("localhost:8000", Some(origin))).is_err(), "{origin}");
        }
    }

    #[test]
    fn allowed_origins_get_a_grant() {
        let origins = Origins::parse("http://localhost:3000, https://app.example").unwrap();
        let door = Doorkeeper { origins, ..open() };
        let granted = door.check(&request("localhost:8000", Some("http://localhost:3000"))).unwrap();
        assert_eq!(granted.unwrap(), "http://localhost:3000");
        assert!(door.check(&request("localhost:8000", Some("http://localhost:3001"))).is_err());
        let any = Doorkeeper { origins: Origins::parse("*").unwrap(), ..open() };
        assert!(any.check(&request("localhost:8000", Some("null"))).unwrap().is_some());
        assert!(Origins::parse("localhost:3000").is_err());
        assert!(Origins::parse("http://x/path").is_err());
        assert_eq!(Origins::parse(" "), Ok(Origins::Own));
    }

    #[test]
    fn an_open_loopback_node_serves_only_names_that_nobody_can_register() {
        let door = Doorkeeper { names: vec!["torc.example.org".into()], ..open() };
        for own in [
            "localhost:8000",
            "localhost",
            "127.0.0.1:8000",
            "[::1]:8000",
            "10.1.2.3",
            "dynamodb:8000",
            "dynamodb.us-east-1.localhost:8000",
            "host.docker.internal:8000",
            "torc.example.org:8000",
            "dynamodb.us-east-1.amazonaws.com",
        ] {
            assert_eq!(door.check(&request(own, None)), Ok(None), "{own}");
        }
        for foreign in ["rebound.evil.example:8000", "localhost.evil.example", "127.0.0.1.nip.example:8000"] {
            assert!(door.check(&request(foreign, None)).is_err(), "{foreign}");
        }
        // A node with keys, or one that others reach anyway, has no reason to.
        let keyed = Doorkeeper { open: false, ..door.clone() };
        assert_eq!(keyed.check(&request("torc.example.com", None)), Ok(None));
        let public = Doorkeeper { loopback: false, ..door };
        assert_eq!(public.check(&request("torc.example.com", None)), Ok(None));
    }

    #[test]
    fn a_node_with_keys_answers_pages_as_dynamodb_does_but_not_with_a_kept_password() {
        let door = Doorkeeper { loopback: true, ..Doorkeeper::default() };
        let mut asked = request("localhost:8000", Some("https://app.example"));
        assert_eq!(door.check(&asked).unwrap().unwrap(), "*");
        asked.headers_mut().insert(header::AUTHORIZATION, HeaderValue::from_static("Basic dG9yYw=="));
        assert!(door.check(&asked).is_err());
    }
}
