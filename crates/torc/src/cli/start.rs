//! `torc start`: flags, the configuration file, and what they come to.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

const DEFAULT_DATA: &str = "torc-data";
const DEFAULT_LISTEN: &str = "127.0.0.1:8000";
const DEFAULT_CLUSTER: &str = "127.0.0.1:7000";
const DEFAULT_ZONE: &str = "zone-a";
const DEFAULT_LOG: &str = "info";
/// Longest zone name, bytes; it travels with every node record.
const MAX_ZONE_BYTES: usize = 64;

/// A node's settings: flags over the configuration file over defaults, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartArgs {
    /// Folder of everything the node keeps; created when missing.
    pub data: PathBuf,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where other nodes connect.
    pub cluster: SocketAddr,
    /// What other nodes are told to connect to, `HOST:PORT`.
    pub advertise: String,
    /// Availability zone.
    pub zone: String,
    /// Nodes of the cluster to join, `HOST:PORT` each; empty for a new cluster, and ignored once the node is a member.
    pub join: Vec<String>,
    /// Which events go to the log, in the syntax of `tracing_subscriber::EnvFilter`.
    pub log: String,
    /// Log as JSON, one event a line.
    pub log_json: bool,
}

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
    /// What other nodes are told to connect to, if not the --cluster address
    #[arg(long, value_name = "HOST:PORT", env = "TORC_ADVERTISE", hide_env_values = true)]
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
    /// Configuration file (TOML) with the same names as these flags; flags win
    #[arg(long, value_name = "FILE", env = "TORC_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Which events go to the log, e.g. warn or info,torc_replica=debug [default: info]
    #[arg(long, value_name = "FILTER", env = "TORC_LOG", hide_env_values = true)]
    log: Option<String>,
    /// Log as JSON, one event a line
    #[arg(long)]
    log_json: bool,
    /// Listen on addresses that other machines can reach, without authentication or encryption
    #[arg(long)]
    insecure: bool,
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
    log: Option<String>,
    log_json: bool,
    insecure: bool,
}

impl StartFlags {
    /// Joins flags, file and defaults. The errors name the setting and say what to write instead.
    pub fn resolve(self) -> Result<StartArgs> {
        let file = match &self.config {
            Some(path) => read_config(path)?,
            None => File::default(),
        };
        let listen = address("listen", self.listen.or(file.listen), DEFAULT_LISTEN)?;
        let cluster = address("cluster", self.cluster.or(file.cluster), DEFAULT_CLUSTER)?;
        let insecure = self.insecure || file.insecure;
        for (name, address) in [("listen", listen), ("cluster", cluster)] {
            if !address.ip().is_loopback() && !insecure {
                bail!(
                    "--{name} {address} can be reached from other machines, and this version has no authentication yet: \
                     use an address in 127.0.0.0/8, or say --insecure if the network is closed to others"
                );
            }
        }
        let advertise = match self.advertise.or(file.advertise) {
            Some(advertise) => host_port("advertise", &advertise)?,
            None if cluster.ip().is_unspecified() => {
                bail!(
                    "--cluster {cluster} names no address that other nodes could use: say which with --advertise HOST:PORT"
                )
            }
            None => cluster.to_string(),
        };
        let zone = self.zone.or(file.zone).unwrap_or_else(|| DEFAULT_ZONE.to_owned());
        if zone.is_empty() || zone.len() > MAX_ZONE_BYTES || !zone.bytes().all(|b| b.is_ascii_graphic()) {
            bail!("--zone {zone:?} is not a zone name: 1 to {MAX_ZONE_BYTES} visible ASCII characters");
        }
        let join = if self.join.is_empty() { file.join } else { self.join };
        let join = join.iter().map(|seed| host_port("join", seed)).collect::<Result<Vec<_>>>()?;
        Ok(StartArgs {
            data: self.data.or(file.data).unwrap_or_else(|| DEFAULT_DATA.into()),
            listen,
            cluster,
            zone,
            // Its own address among the seeds is harmless in a shared file, and useless.
            join: join.into_iter().filter(|seed| *seed != advertise).collect(),
            advertise,
            log: self.log.or(file.log).unwrap_or_else(|| DEFAULT_LOG.to_owned()),
            log_json: self.log_json || file.log_json,
        })
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
fn host_port(name: &str, text: &str) -> Result<String> {
    let text = text.trim();
    let port = text
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty())
        .and_then(|(_, port)| port.parse::<u16>().ok());
    match port {
        Some(1..) => Ok(text.to_owned()),
        _ => bail!("--{name} {text:?} is not HOST:PORT, for example {DEFAULT_CLUSTER}"),
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

    fn resolve(text: &str) -> Result<StartArgs> {
        Wrapper::parse_from(std::iter::once("start").chain(text.split_whitespace())).flags.resolve()
    }

    #[test]
    fn defaults_are_a_single_node_on_loopback() {
        let args = resolve("").unwrap();
        assert_eq!(args.listen.to_string(), "127.0.0.1:8000");
        assert_eq!(
            (args.cluster.to_string(), args.advertise),
            ("127.0.0.1:7000".to_owned(), "127.0.0.1:7000".to_owned())
        );
        assert_eq!((args.data, args.join), (PathBuf::from("torc-data"), vec![]));
    }

    #[test]
    fn flags_win_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("torc.toml");
        std::fs::write(&path, "zone = 'b'\nlisten = '127.0.0.1:9000'\njoin = ['127.0.0.1:7001', '127.0.0.1:7000']\nlog-json = true\n")
            .unwrap();
        let args = resolve(&format!("--config {} --listen 127.0.0.1:9001", path.display())).unwrap();
        assert_eq!((args.zone.as_str(), args.listen.port(), args.log_json), ("b", 9001, true));
        assert_eq!(args.join, ["127.0.0.1:7001"], "its own address is no seed");
    }

    #[test]
    fn wrong_settings_say_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let misspelt = folder.path().join("torc.toml");
        std::fs::write(&misspelt, "zonne = 'b'").unwrap();
        let misspelt = format!("--config {}", misspelt.display());
        for (flags, word) in [
            ("--listen 8000", "ADDR:PORT"),
            ("--listen 0.0.0.0:8000", "--insecure"),
            ("--cluster 0.0.0.0:7000 --insecure", "--advertise"),
            ("--join nowhere", "HOST:PORT"),
            ("--join host:0", "HOST:PORT"),
            ("--advertise :7000", "HOST:PORT"),
            ("--zone ü", "zone name"),
            ("--config /nonexistent.toml", "/nonexistent.toml"),
            (misspelt.as_str(), "zonne"),
        ] {
            let error = format!("{:#}", resolve(flags).unwrap_err());
            assert!(error.contains(word), "{flags}: {error}");
        }
    }
}
