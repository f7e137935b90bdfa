//! `torc kv`: buckets from the command line, over the same HTTP interface that `curl` uses.

use super::block_on;
use crate::bench::connection::{Answer, Connection};
use anyhow::{Context, Result, bail};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);
/// The causal context of an answer, to be sent with the write that replaces what was read.
const CONTEXT_HEADER: &str = "x-torc-context";

/// `torc kv` as typed.
#[derive(Debug, clap::Args)]
pub struct KvArgs {
    #[command(subcommand)]
    command: KvCommand,
    /// Any node of the cluster
    #[arg(
        long,
        global = true,
        default_value = "127.0.0.1:8000",
        value_name = "HOST:PORT",
        env = "TORC_ENDPOINT"
    )]
    endpoint: String,
    /// Access key, if the node asks for one; better given in the environment, where other users of the machine can't read it
    #[arg(long, global = true, value_name = "ID:SECRET", env = "TORC_ACCESS_KEY", hide_env_values = true)]
    access_key: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum KvCommand {
    /// Create a bucket
    Create {
        /// Name of the bucket
        bucket: String,
        /// Copies of each key
        #[arg(short, long, default_value_t = 3)]
        n: u8,
    },
    /// Write a value
    Put {
        /// Name of the bucket
        bucket: String,
        /// Key
        key: String,
        /// The value; - reads it from standard input
        value: String,
        /// Copies that must have it on disk: one, quorum, all or a number
        #[arg(short, long, default_value = "quorum")]
        w: String,
        /// Context of the read whose values this write replaces; without it the value stands beside them
        #[arg(long)]
        context: Option<String>,
    },
    /// Read a value, or its siblings
    Get {
        /// Name of the bucket
        bucket: String,
        /// Key
        key: String,
        /// Copies that must answer: one, quorum, all or a number
        #[arg(short, long, default_value = "quorum")]
        r: String,
    },
    /// Delete a value
    Delete {
        /// Name of the bucket
        bucket: String,
        /// Key
        key: String,
        /// Copies that must have it on disk: one, quorum, all or a number
        #[arg(short, long, default_value = "quorum")]
        w: String,
        /// Context of the read whose values this deletes; without it, what is there now
        #[arg(long)]
        context: Option<String>,
    },
}

/// Runs one bucket command. The exit code is 1 if there is no value.
pub fn main(args: KvArgs) -> Result<ExitCode> {
    let endpoint = args.endpoint.strip_prefix("http://").unwrap_or(&args.endpoint).trim_end_matches('/');
    let mut connection = Connection::new(endpoint, TIMEOUT).with_access_key(args.access_key.as_deref());
    block_on(run(&mut connection, args.command))
}

async fn run(connection: &mut Connection, command: KvCommand) -> Result<ExitCode> {
    match command {
        KvCommand::Create { bucket, n } => {
            let body = format!("{{\"n\":{n}}}");
            let path = format!("/kv/{}", escape(&bucket));
            let headers = [("Content-Type", "application/json")];
            accepted(&send(connection, "PUT", &path, &headers, body.as_bytes()).await?)?;
            Ok(ExitCode::SUCCESS)
        }
        KvCommand::Put { bucket, key, value, w, context } => {
            let value = if value == "-" { read_stdin()? } else { value.into_bytes() };
            let path = format!("/kv/{}/{}?w={}", escape(&bucket), escape(&key), escape(&w));
            write(connection, "PUT", &path, context.as_deref(), &value).await
        }
        KvCommand::Delete { bucket, key, w, context } => {
            let path = format!("/kv/{}/{}?w={}", escape(&bucket), escape(&key), escape(&w));
            write(connection, "DELETE", &path, context.as_deref(), b"").await
        }
        KvCommand::Get { bucket, key, r } => {
            let path = format!("/kv/{}/{}?r={}", escape(&bucket), escape(&key), escape(&r));
            // Several values come as JSON; a single one as it is.
            let answer = send(connection, "GET", &path, &[("Accept", "application/json")], b"").await?;
            show(&answer)
        }
    }
}

async fn send<'a>(
    connection: &'a mut Connection,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer<'a>> {
    let address = connection.address().to_owned();
    connection.send(method, path, headers, body).await.with_context(|| {
        format!("no answer from {address}; is a node running there? Start one with: torc start")
    })
}

async fn write(
    connection: &mut Connection,
    method: &str,
    path: &str,
    context: Option<&str>,
    body: &[u8],
) -> Result<ExitCode> {
    if context.is_some_and(|context| !context.bytes().all(|byte| byte.is_ascii_graphic())) {
        bail!("--context is not a context: copy it from the answer of torc kv get");
    }
    let mut headers = vec![("Content-Type", "application/octet-stream")];
    headers.extend(context.map(|context| (CONTEXT_HEADER, context)));
    accepted(&send(connection, method, path, &headers, body).await?)?;
    Ok(ExitCode::SUCCESS)
}

fn accepted(answer: &Answer<'_>) -> Result<()> {
    match answer.status {
        200..=299 => Ok(()),
        status => bail!("{status}: {}", message(answer.body)),
    }
}

/// One value goes to standard output byte for byte; siblings one after another in base64, a line each, because any byte may be in them.
fn show(answer: &Answer<'_>) -> Result<ExitCode> {
    match answer.status {
        200 => std::io::stdout().write_all(answer.body)?,
        300 => {
            let siblings: serde_json::Value =
                serde_json::from_slice(answer.body).context("the answer is not JSON")?;
            let values = siblings["siblings"].as_array().context("the answer has no siblings")?;
            eprintln!(
                "{} siblings, in base64; write one value with --context to replace them:",
                values.len()
            );
            for value in values {
                println!("{}", value["value_base64"].as_str().context("a sibling has no value")?);
            }
        }
        404 => {
            eprintln!("{}", message(answer.body));
            return Ok(ExitCode::FAILURE);
        }
        status => bail!("{status}: {}", message(answer.body)),
    }
    if let Some(context) = answer.header(CONTEXT_HEADER) {
        eprintln!("context: {context}");
    }
    Ok(ExitCode::SUCCESS)
}

fn message(body: &[u8]) -> String {
    let json = serde_json::from_slice::<serde_json::Value>(body).ok();
    let text = json.as_ref().and_then(|json| json["message"].as_str());
    match text {
        Some(text) => text.to_owned(),
        None if body.is_empty() => "no value".to_owned(),
        None => String::from_utf8_lossy(body).trim().to_owned(),
    }
}

fn read_stdin() -> Result<Vec<u8>> {
    let mut value = Vec::new();
    std::io::stdin().read_to_end(&mut value).context("cannot read the value from standard input")?;
    Ok(value)
}

/// Percent-encodes everything but the unreserved characters of RFC 3986, so that a key may hold any byte.
fn escape(text: &str) -> String {
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_any_byte_survive_the_path() {
        for (key, path) in
            [("plain-1", "plain-1"), ("a/b c", "a%2Fb%20c"), ("ü?&", "%C3%BC%3F%26"), ("..", "..")]
        {
            assert_eq!(escape(key), path);
        }
    }
}
