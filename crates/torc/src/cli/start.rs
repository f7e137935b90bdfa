//! `torc start`: flags, the configuration file, and the resulting settings.

use crate::node::StartArgs;
use crate::transport::handshake::ClusterSecret;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use torc_api::auth::AccessKeys;
use torc_api::server::Origins;
use torc_coordinator::node::IndexReads;
use tracing_subscriber::EnvFilter;

const DEFAULT_DATA: &str = "torc-data";
const DEFAULT_LISTEN: &str = "127.0.0.1:8000";
const DEFAULT_CLUSTER: &str = "127.0.0.1:7000";
const DEFAULT_ZONE: &str = "zone-a";
const DEFAULT_LOG: &str = "info";
const DEFAULT_MEMORY: &str = "256M";
/// Less does not hold the memtables.
const MIN_MEMORY_BYTES: usize = 64 << 20;
/// Longest zone name, bytes; it travels with every node record.
const MAX_ZONE_BYTES: usize = 64;
const MAX_WEIGHT: u32 = 100;
const MAX_THREADS: usize = 1024;

/// `torc start` as typed.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct StartFlags {
    /// Folder for everything the node keeps [default: torc-data]
    #[arg(long, value_name = "DIR", env = "TORC_DATA", hide_env_values = true)]
    data: Option<PathBuf>,
    /// Where clients connect: DynamoDB, buckets, status [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDR:PORT", env = "TORC_LISTEN", hide_env_values = true)]
    listen: Option<String>,
    /// Where other nodes connect [default: 127.0.0.1:7000]
    #[arg(long, value_name = "ADDR:PORT", env = "TORC_CLUSTER", hide_env_values = true)]
    cluster: Option<String>,
    /// Host name or address that others are told, if not the one listened on
    #[arg(long, value_name = "HOST", env = "TORC_ADVERTISE", hide_env_values = true)]
    advertise: Option<String>,
    /// Availability zone; the copies of a partition lie in different zones [default: zone-a]
    #[arg(long, value_name = "NAME", env = "TORC_ZONE", hide_env_values = true)]
    zone: Option<String>,
    /// Nodes of the cluster to join (their --cluster addresses); without it a new cluster begins
    #[arg(
        long,
        value_name = "HOST:PORT[,..]",
        value_delimiter = ',',
        env = "TORC_JOIN",
        hide_env_values = true
    )]
    join: Vec<String>,
    /// Share of the data, against other nodes' weights [default: 1]
    #[arg(long, value_name = "N")]
    weight: Option<u32>,
    /// Memory for memtables and caches, e.g. 512M or 4G; requests may hold half as much beside it, at most 256M [default: 256M]
    #[arg(long, value_name = "SIZE", env = "TORC_MEMORY", hide_env_values = true)]
    memory: Option<String>,
    /// Threads that serve [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Access keys of clients, ID:SECRET apart by commas: DynamoDB requests must be signed with one, all others signed or sent with one
    /// (Authorization: Basic), except /health and /ready. Without any, all requests are served.
    /// Better given in the environment or the file than on the command line, which other users of the machine can read
    #[arg(long, value_name = "KEYS", env = "TORC_ACCESS_KEYS", hide_env_values = true)]
    access_keys: Option<String>,
    /// Whether a read of a global index waits until the index holds what was acknowledged before (at most a second): auto (while the
    /// cluster has one node), wait, or eventual [default: auto]
    #[arg(long, value_name = "HOW", env = "TORC_INDEX_READS", hide_env_values = true)]
    index_reads: Option<String>,
    /// Origins of web pages that may use a node without access keys, apart by commas, e.g. http://localhost:3000; * for any. Without it
    /// browsers are refused, since any page that is open in one could read and delete the tables of this machine
    #[arg(long, value_name = "ORIGINS", env = "TORC_ALLOW_ORIGIN", hide_env_values = true)]
    allow_origin: Option<String>,
    /// Secret that all nodes of a cluster share, 16 bytes or more, for example from openssl rand -hex 32: a node that does not know it can
    /// neither speak to this one nor be spoken to. Without one, whoever reaches --cluster is taken for a node. Better given in the
    /// environment or the file than on the command line
    #[arg(long, value_name = "SECRET", env = "TORC_CLUSTER_SECRET", hide_env_values = true)]
    cluster_secret: Option<String>,
    /// Configuration file (TOML) with the same names as these flags; flags win
    #[arg(long, value_name = "FILE", env = "TORC_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Which events go to the log on standard error, e.g. warn or info,torc_replica=debug [default: info]
    #[arg(long, value_name = "FILTER", env = "TORC_LOG", hide_env_values = true)]
    log: Option<String>,
    /// Log as JSON, one event a line
    #[arg(long)]
    log_json: bool,
    /// Print no banner
    #[arg(long)]
    quiet: bool,
}

/// The configuration file. A name that is not known is an error: a misspelt setting must not be ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct File {
    data: Option<PathBuf>,
    listen: Option<String>,
    cluster: Option<String>,
    advertise: Option<String>,
    zone: Option<String>,
    join: Vec<String>,
    weight: Option<u32>,
    memory: Option<String>,
    threads: Option<usize>,
    access_keys: Option<String>,
    allow_origin: Option<String>,
    index_reads: Option<String>,
    cluster_secret: Option<String>,
    log: Option<String>,
    log_json: bool,
    quiet: bool,
}

/// Where events go.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LogArgs {
    filter: String,
    json: bool,
}

/// Runs a node until it is told to stop.
pub fn main(flags: StartFlags) -> Result<ExitCode> {
    let (args, log) = flags.resolve()?;
    start_log(&log)?;
    crate::node::run(args)?;
    Ok(ExitCode::SUCCESS)
}

fn start_log(args: &LogArgs) -> Result<()> {
    let filter = EnvFilter::try_new(&args.filter).with_context(|| {
        format!("--log {:?} is not a filter, for example warn or info,torc_replica=debug", args.filter)
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let colours = super::terminal::Paint::stderr().enabled();
    let started = if args.json { log.json().try_init() } else { log.with_ansi(colours).try_init() };
    started.map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))
}

impl StartFlags {
    /// Joins flags, file and defaults. The errors name the setting and say what to write instead.
    fn resolve(self) -> Result<(StartArgs, LogArgs)> {
        let file = match &self.config {
            Some(path) => read_config(path)?,
            None => File::default(),
        };
        let zone = self.zone.or(file.zone).unwrap_or_else(|| DEFAULT_ZONE.to_owned());
        if zone.is_empty() || zone.len() > MAX_ZONE_BYTES || !zone.bytes().all(|b| b.is_ascii_graphic()) {
            bail!("--zone {zone:?} is not a zone name: 1 to {MAX_ZONE_BYTES} visible ASCII characters");
        }
        let weight = self.weight.or(file.weight).unwrap_or(1);
        if !(1..=MAX_WEIGHT).contains(&weight) {
            bail!("--weight {weight} is not between 1 and {MAX_WEIGHT}");
        }
        let threads = self.threads.or(file.threads).unwrap_or(0);
        if threads > MAX_THREADS {
            bail!("--threads {threads} is more than {MAX_THREADS}");
        }
        let advertise = self.advertise.or(file.advertise);
        if let Some(host) =
            advertise.as_deref().filter(|host| host.is_empty() || host.contains(['/', ' ', '@']))
        {
            bail!(
                "--advertise {host:?} is not a host name or address; the port is that of --listen and --cluster"
            );
        }
        let join = if self.join.is_empty() { file.join } else { self.join };
        let args = StartArgs {
            data: self.data.or(file.data).unwrap_or_else(|| DEFAULT_DATA.into()),
            listen: address("listen", self.listen.or(file.listen), DEFAULT_LISTEN)?,
            cluster: address("cluster", self.cluster.or(file.cluster), DEFAULT_CLUSTER)?,
            advertise,
            zone,
            weight,
            join: join.iter().map(|seed| host_port(seed)).collect::<Result<Vec<_>>>()?,
            quiet: self.quiet || file.quiet,
            threads,
            access_keys: AccessKeys::parse(&self.access_keys.or(file.access_keys).unwrap_or_default())
                .map_err(anyhow::Error::msg)
                .context("--access-keys (TORC_ACCESS_KEYS)")?,
            index_reads: index_reads(self.index_reads.or(file.index_reads).as_deref())?,
            allow_origin: Origins::parse(&self.allow_origin.or(file.allow_origin).unwrap_or_default())
                .map_err(anyhow::Error::msg)
                .context("--allow-origin (TORC_ALLOW_ORIGIN)")?,
            cluster_secret: match self.cluster_secret.or(file.cluster_secret) {
                Some(text) => ClusterSecret::parse(&text)
                    .map_err(anyhow::Error::msg)
                    .context("--cluster-secret (TORC_CLUSTER_SECRET)")?,
                None => ClusterSecret::default(),
            },
            memory_bytes: memory(&self.memory.or(file.memory).unwrap_or_else(|| DEFAULT_MEMORY.to_owned()))?,
        };
        let filter = self.log.or(file.log).unwrap_or_else(|| DEFAULT_LOG.to_owned());
        Ok((args, LogArgs { filter, json: self.log_json || file.log_json }))
    }
}

fn index_reads(text: Option<&str>) -> Result<IndexReads> {
    match text {
        None | Some("auto") => Ok(IndexReads::Auto),
        Some("wait") => Ok(IndexReads::Wait),
        Some("eventual") => Ok(IndexReads::Eventual),
        Some(other) => bail!("--index-reads {other:?} is not auto, wait or eventual"),
    }
}

fn read_config(path: &Path) -> Result<File> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("the configuration {} is not valid", path.display()))
}

fn address(name: &str, text: Option<String>, default: &str) -> Result<SocketAddr> {
    let text = text.unwrap_or_else(|| default.to_owned());
    let mut found = text
        .to_socket_addrs()
        .with_context(|| format!("--{name} {text:?} is not ADDR:PORT, for example {default}"))?;
    found.next().with_context(|| format!("--{name} {text:?} has no address"))
}

/// Checks the form only: the name may resolve later, when that node is up.
fn host_port(text: &str) -> Result<String> {
    let text = text.trim();
    let port = text
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty())
        .and_then(|(_, port)| port.parse::<u16>().ok());
    match port {
        Some(1..) => Ok(text.to_owned()),
        _ => bail!("--join {text:?} is not HOST:PORT, for example {DEFAULT_CLUSTER}"),
    }
}

/// Bytes, or with a suffix K, M or G (powers of 1024).
fn memory(text: &str) -> Result<usize> {
    let (digits, shift) = match text.trim_end_matches(['b', 'B', 'i']).char_indices().last() {
        Some((at, 'K' | 'k')) => (&text[..at], 10),
        Some((at, 'M' | 'm')) => (&text[..at], 20),
        Some((at, 'G' | 'g')) => (&text[..at], 30),
        _ => (text, 0),
    };
    let bytes = digits.trim().parse::<usize>().ok().and_then(|number| number.checked_mul(1 << shift));
    match bytes {
        Some(bytes) if bytes >= MIN_MEMORY_BYTES => Ok(bytes),
        Some(_) => bail!("--memory {text} is too little: at least {}M", MIN_MEMORY_BYTES >> 20),
        None => bail!("--memory {text:?} is not a size, for example 512M or 4G"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Wrapper {
        #[command(flatten)]
        flags: StartFlags,
    }

    fn resolve(text: &str) -> Result<(StartArgs, LogArgs)> {
        Wrapper::parse_from(std::iter::once("start").chain(text.split_whitespace())).flags.resolve()
    }

    #[test]
    fn defaults_are_a_single_node_on_loopback() {
        let (args, log) = resolve("").unwrap();
        assert_eq!(args.listen.to_string(), "127.0.0.1:8000");
        assert_eq!(args.cluster.to_string(), "127.0.0.1:7000");
        assert_eq!((args.data, args.join), (PathBuf::from("torc-data"), vec![]));
        assert_eq!((args.memory_bytes, args.weight, args.threads), (256 << 20, 1, 0));
        assert_eq!(log, LogArgs { filter: "info".to_owned(), json: false });
    }

    #[test]
    fn flags_win_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("torc.toml");
        let text = "zone = 'b'\nlisten = '127.0.0.1:9000'\njoin = ['127.0.0.1:7001', 'other:7000']\nlog-json = true\n";
        std::fs::write(&path, text).unwrap();
        let (args, log) = resolve(&format!("--config {} --listen 127.0.0.1:9001", path.display())).unwrap();
        assert_eq!((args.zone.as_str(), args.listen.port(), log.json), ("b", 9001, true));
        assert_eq!(args.join, ["127.0.0.1:7001", "other:7000"]);
    }

    #[test]
    fn access_keys_come_from_the_file_and_are_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("torc.toml");
        std::fs::write(&path, "access-keys = 'id:hush-hush,other:word'\n").unwrap();
        let (args, _) = resolve(&format!("--config {}", path.display())).unwrap();
        assert!(!args.access_keys.is_empty() && !format!("{args:?}").contains("hush-hush"));
        let error = format!("{:#}", resolve("--access-keys hush-hush").unwrap_err());
        assert!(error.contains("TORC_ACCESS_KEYS") && !error.contains("hush-hush"), "{error}");
        assert!(resolve("").unwrap().0.access_keys.is_empty());
    }

    #[test]
    fn a_cluster_secret_comes_from_the_file_and_is_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("torc.toml");
        std::fs::write(&path, "cluster-secret = 'a long enough secret'\n").unwrap();
        let (args, _) = resolve(&format!("--config {}", path.display())).unwrap();
        assert!(!args.cluster_secret.is_empty() && !format!("{args:?}").contains("long enough"));
        let error = format!("{:#}", resolve("--cluster-secret short").unwrap_err());
        assert!(error.contains("TORC_CLUSTER_SECRET") && !error.contains("short"), "{error}");
        assert!(resolve("").unwrap().0.cluster_secret.is_empty());
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("67108864", 64 << 20),
            ("96M", 96 << 20),
            ("2g", 2 << 30),
            ("64MiB", 64 << 20),
            ("80000kB", 80_000 << 10),
        ] {
            assert_eq!(memory(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "M", "32M", "-1G", "1.5G", "many", "99999999999G", "ü"] {
            assert!(memory(text).is_err(), "{text}");
        }
    }

    #[test]
    fn wrong_settings_say_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let misspelt = folder.path().join("torc.toml");
        std::fs::write(&misspelt, "zonne = 'b'").unwrap();
        let misspelt = format!("--config {}", misspelt.display());
        for (flags, word) in [
            ("--listen 8000", "ADDR:PORT"),
            ("--join nowhere", "HOST:PORT"),
            ("--join host:0", "HOST:PORT"),
            ("--advertise http://host", "host name"),
            ("--zone ü", "zone name"),
            ("--weight 0", "between 1"),
            ("--memory 3", "at least 64M"),
            ("--config /nonexistent.toml", "/nonexistent.toml"),
            (misspelt.as_str(), "zonne"),
        ] {
            let error = format!("{:#}", resolve(flags).unwrap_err());
            assert!(error.contains(word), "{flags}: {error}");
        }
    }
}
