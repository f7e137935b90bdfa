//! Sockets of clients: detects the protocol of a connection, and closes connections whose client does not
//! read the answers.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, timeout_at};

/// What an HTTP/2 connection with prior knowledge begins with.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long an answer may wait for a client that does not read. Until then it keeps its memory.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a socket that has sent only part of what tells the protocol is looked at again.
const PEEK_AGAIN: Duration = Duration::from_millis(10);

/// The protocol of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1.1 and 1.0.
    Http1,
    /// HTTP/2 with prior knowledge, as gRPC clients do.
    Http2,
}

/// Looks at the first bytes of a connection without taking them. `None` if none came within `patience`, or
/// the client left.
pub(super) async fn protocol(stream: &TcpStream, patience: Duration) -> Option<Protocol> {
    let deadline = Instant::now() + patience;
    let mut first = [0; HTTP2_PREFACE.len()];
    loop {
        let seen = match timeout_at(deadline, stream.peek(&mut first)).await {
            Ok(Ok(seen)) if seen > 0 => first.get(..seen)?,
            _ => return None,
        };
        if seen == HTTP2_PREFACE {
            return Some(Protocol::Http2);
        }
        // No method begins with the first letters of the preface, so for every other protocol the first bytes
        // decide at once.
        if !HTTP2_PREFACE.starts_with(seen) {
            return Some(Protocol::Http1);
        }
        if Instant::now() >= deadline {
            return None;
        }
        // Peeked bytes stay readable, so waiting for readiness would return at once and spin.
        sleep(PEEK_AGAIN).await;
    }
}

/// A stream whose writes fail when the other side has taken nothing for [`WRITE_TIMEOUT`].
pub(super) struct Impatient<S> {
    inner: S,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    pub fn new(inner: S) -> Self {
        Self { inner, waiting: None }
    }

    fn patience<T>(&mut self, done: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.waiting = None;
            return done;
        }
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        ready!(waiting.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read its answers")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.inner).poll_write(context, data);
        self.patience(done, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.inner).poll_write_vectored(context, data);
        self.patience(done, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.inner).poll_flush(context);
        self.patience(done, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.inner).poll_shutdown(context);
        self.patience(done, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    async fn check(sent: &'static [u8], wanted: Option<Protocol>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(sent).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        assert_eq!(protocol(&server, Duration::from_millis(200)).await, wanted, "{sent:?}");
    }

    #[tokio::test]
    async fn protocols_are_told_apart() {
        check(b"POST / HTTP/1.1\r\n", Some(Protocol::Http1)).await;
        check(b"PUT /kv/a/b HTTP/1.1\r\n", Some(Protocol::Http1)).await;
        check(b"\x16\x03\x01", Some(Protocol::Http1)).await;
        check(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n and more", Some(Protocol::Http2)).await;
        check(b"PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n", Some(Protocol::Http1)).await;
        check(b"PRI * HT", None).await;
        check(b"", None).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_reads_is_given_up() {
        let (_client, server) = tokio::io::duplex(1024);
        let mut server = Impatient::new(server);
        let error = server.write_all(&[0; 4096]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
