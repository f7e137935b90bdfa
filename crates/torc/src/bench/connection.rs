//! One keep-alive HTTP/1.1 connection, written for the least work per request: one write, one read, no header
//! map.
//!
//! A general client costs more processor time than the server it measures on a small machine. Used by the
//! load generator and the small commands of the command line.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest header block accepted.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Longest body accepted: above any answer of the DynamoDB protocol (16 MB).
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// Why there is no answer. After any of these the request may or may not have taken effect.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Connecting, writing or reading failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The answer did not come in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The other side does not speak HTTP/1.1 as we understand it.
    #[error("not an HTTP answer: {0}")]
    Malformed(&'static str),
}

/// An answer; borrows the connection's buffer.
#[derive(Debug)]
pub struct Answer<'a> {
    /// HTTP status.
    pub status: u16,
    /// Header block, without the status line.
    pub head: &'a [u8],
    /// Body, decoded if it came in chunks.
    pub body: &'a [u8],
}

impl Answer<'_> {
    /// The first header of that name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        headers(self.head)
            .find(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()))
            .and_then(|(_, value)| std::str::from_utf8(value).ok())
    }
}

/// Connects when first used and again after an error.
pub struct Connection {
    address: String,
    timeout: Duration,
    authorization: Option<String>,
    stream: Option<TcpStream>,
    input: Vec<u8>,
    chunked_body: Vec<u8>,
}

impl Connection {
    /// A connection to `HOST:PORT`, whose requests fail after `timeout`.
    pub fn new(address: impl Into<String>, timeout: Duration) -> Connection {
        Connection {
            address: address.into(),
            timeout,
            authorization: None,
            stream: None,
            input: Vec::new(),
            chunked_body: Vec::new(),
        }
    }

    /// Sends an access key, `ID:SECRET`, with every request of [`Connection::send`].
    pub fn with_access_key(mut self, key: Option<&str>) -> Connection {
        self.authorization = key.map(|key| format!("Basic {}", STANDARD.encode(key)));
        self
    }

    /// Where it goes, `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends a whole request (head and body as they go over the wire) and reads the whole answer.
    pub async fn request(&mut self, request: &[u8]) -> Result<Answer<'_>, RequestError> {
        let timeout = self.timeout;
        let frame = match tokio::time::timeout(timeout, self.exchange(request)).await {
            Ok(Ok(frame)) => frame,
            Ok(Err(error)) => {
                self.stream = None;
                return Err(error);
            }
            Err(_) => {
                self.stream = None;
                return Err(RequestError::Timeout(timeout));
            }
        };
        if frame.close {
            self.stream = None;
        }
        let body = match frame.body {
            Body::Inline(end) => &self.input[frame.head_end..end],
            Body::Chunked => &self.chunked_body,
        };
        Ok(Answer { status: frame.status, head: &self.input[frame.status_end..frame.head_end], body })
    }

    /// Builds and sends one request; for callers that do not count microseconds.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer<'_>, RequestError> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address).into_bytes();
        for (name, value) in headers {
            request.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if let Some(authorization) = &self.authorization {
            request.extend_from_slice(format!("Authorization: {authorization}\r\n").as_bytes());
        }
        request.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        request.extend_from_slice(body);
        self.request(&request).await
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<Frame, RequestError> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address.as_str()).await?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        stream.write_all(request).await?;
        self.input.clear();
        self.chunked_body.clear();
        let mut frame = read_head(&mut stream, &mut self.input).await?;
        match frame.length {
            Length::Bytes(length) => {
                let end = frame.head_end + length;
                fill(&mut stream, &mut self.input, end).await?;
                frame.body = Body::Inline(end);
            }
            Length::Chunked => {
                read_chunks(&mut stream, &mut self.input, frame.head_end, &mut self.chunked_body).await?;
                frame.body = Body::Chunked;
            }
        }
        self.stream = Some(stream);
        Ok(frame)
    }
}

enum Length {
    Bytes(usize),
    Chunked,
}

enum Body {
    /// In the input buffer, from the end of the head to this offset.
    Inline(usize),
    Chunked,
}

struct Frame {
    status: u16,
    status_end: usize,
    head_end: usize,
    length: Length,
    close: bool,
    body: Body,
}

async fn read_more(stream: &mut TcpStream, input: &mut Vec<u8>) -> Result<(), RequestError> {
    input.reserve(4096);
    match stream.read_buf(input).await? {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed before the answer")
            .into()),
        _ => Ok(()),
    }
}

/// Reads until `input` holds at least `end` bytes.
async fn fill(stream: &mut TcpStream, input: &mut Vec<u8>, end: usize) -> Result<(), RequestError> {
    while input.len() < end {
        read_more(stream, input).await?;
    }
    Ok(())
}

async fn read_head(stream: &mut TcpStream, input: &mut Vec<u8>) -> Result<Frame, RequestError> {
    let mut searched = 0;
    loop {
        if let Some(at) = find(&input[searched..], b"\r\n\r\n") {
            return parse_head(input, searched + at + 4);
        }
        if input.len() > MAX_HEAD_BYTES {
            return Err(RequestError::Malformed("endless headers"));
        }
        // The end may straddle two reads.
        searched = input.len().saturating_sub(3);
        read_more(stream, input).await?;
    }
}

/// `head_end` is just behind the empty line.
fn parse_head(input: &[u8], head_end: usize) -> Result<Frame, RequestError> {
    let head = &input[..head_end];
    let status_end = find(head, b"\r\n").ok_or(RequestError::Malformed("no status line"))? + 2;
    let status = head
        .get(9..12)
        .filter(|_| head.starts_with(b"HTTP/1."))
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse().ok())
        .ok_or(RequestError::Malformed("no status"))?;
    let mut length = Length::Bytes(0);
    let mut close = false;
    for (name, value) in headers(&head[status_end..]) {
        if name.eq_ignore_ascii_case(b"content-length") {
            let bytes = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
            match bytes {
                Some(bytes) if bytes <= MAX_BODY_BYTES => length = Length::Bytes(bytes),
                _ => return Err(RequestError::Malformed("bad content-length")),
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            length = Length::Chunked;
        } else if name.eq_ignore_ascii_case(b"connection") {
            close = value.eq_ignore_ascii_case(b"close");
        }
    }
    Ok(Frame { status, status_end, head_end, length, close, body: Body::Inline(head_end) })
}

async fn read_chunks(
    stream: &mut TcpStream,
    input: &mut Vec<u8>,
    mut at: usize,
    body: &mut Vec<u8>,
) -> Result<(), RequestError> {
    loop {
        let line_end = loop {
            match find(input.get(at..).unwrap_or_default(), b"\r\n") {
                Some(found) => break at + found,
                None => read_more(stream, input).await?,
            }
        };
        let size = std::str::from_utf8(&input[at..line_end])
            .ok()
            .and_then(|line| {
                usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16).ok()
            })
            .filter(|size| size.saturating_add(body.len()) <= MAX_BODY_BYTES)
            .ok_or(RequestError::Malformed("bad chunk size"))?;
        let data = line_end + 2;
        fill(stream, input, data + size + 2).await?;
        body.extend_from_slice(&input[data..data + size]);
        at = data + size + 2;
        if size == 0 {
            return Ok(());
        }
    }
}

fn headers(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    head.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((line[..colon].trim_ascii(), line[colon + 1..].trim_ascii()))
    })
}

/// Offset of the first `needle`.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// A server that answers each request on one connection with the next of `answers`, in pieces of `piece`
    /// bytes.
    async fn serve(answers: Vec<&'static str>, piece: usize) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            for answer in answers {
                let mut buffer = [0; 1024];
                if stream.read(&mut buffer).await.unwrap() == 0 {
                    return;
                }
                for part in answer.as_bytes().chunks(piece) {
                    stream.write_all(part).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        });
        address
    }

    async fn check(answer: &'static str, status: u16, body: &str) {
        for piece in [1, 3, 7, 4096] {
            // Twice on one connection: the first answer must leave nothing behind.
            let address = serve(vec![answer, answer], piece).await;
            let mut connection = Connection::new(address, Duration::from_secs(5));
            for _ in 0..2 {
                let got = connection.send("GET", "/", &[], b"").await.unwrap();
                assert_eq!((got.status, std::str::from_utf8(got.body).unwrap()), (status, body));
            }
        }
    }

    #[tokio::test]
    async fn answers_in_any_framing() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello").await;
        check("HTTP/1.1 204 No Content\r\nserver: x\r\n\r\n", 204, "").await;
        check("HTTP/1.1 400 Bad Request\r\ncontent-length:2\r\nX: y\r\n\r\n{}", 400, "{}").await;
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
            200,
            "hello world",
        )
        .await;
    }

    #[tokio::test]
    async fn headers_are_found_in_any_case() {
        let address =
            serve(vec!["HTTP/1.1 200 OK\r\nX-Torc-Context:  abc \r\nContent-Length: 0\r\n\r\n"], 4096).await;
        let mut connection = Connection::new(address, Duration::from_secs(5));
        let got = connection.send("GET", "/", &[], b"").await.unwrap();
        assert_eq!(got.header("x-torc-context"), Some("abc"));
        assert_eq!(got.header("x-other"), None);
    }

    #[tokio::test]
    async fn broken_answers_are_errors() {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: nine\r\n\r\n",
            "SSH-2.0-OpenSSH\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ] {
            let mut connection = Connection::new(serve(vec![answer], 4096).await, Duration::from_secs(5));
            let got = connection.send("GET", "/", &[], b"").await;
            assert!(matches!(got, Err(RequestError::Malformed(_))), "{answer}: {got:?}");
        }
        // Cut off in the middle of the body.
        let cut = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
        let mut connection = Connection::new(serve(vec![cut], 4096).await, Duration::from_secs(5));
        assert!(matches!(connection.send("GET", "/", &[], b"").await, Err(RequestError::Io(_))));
    }
}
