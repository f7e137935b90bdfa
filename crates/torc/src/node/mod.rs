//! One node as a process: real clocks, files and sockets around the node of the coordinator crate.

mod clock;
mod limits;
mod signals;

use crate::transport::handshake::{ClusterSecret, Handshake};
use crate::transport::{GrpcTransport, Inbound, LinkService};
use anyhow::{Context, bail};
use bytes::Bytes;
use clock::SystemClock;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use torc_api::auth::AccessKeys;
use torc_api::dynamodb::DynamoDb;
use torc_api::request_id::RequestIds;
use torc_api::server::{Doorkeeper, Edge, Origins, serve};
use torc_coordinator::node::{IndexReads, Node, NodeConfig, Ports};
use torc_coordinator::ports::Class;
use torc_coordinator::request::ByteBudget;
use torc_engine::env::RealEnv;
use torc_engine::{Engine, Options};
use torc_replica::store::{Limits, PlantedBugs, Timing};

/// Bounds of what requests may hold together.
const MIN_REQUEST_BYTES: usize = 96 << 20;
const MAX_REQUEST_BYTES: usize = 256 << 20;

/// How a node is started.
#[derive(Clone, Debug)]
pub struct StartArgs {
    /// Data folder; made if absent.
    pub data: PathBuf,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where other nodes connect; port 0 takes any free one.
    pub cluster: SocketAddr,
    /// Host name or address that others are told, when it is not the one listened on.
    pub advertise: Option<String>,
    /// Availability zone.
    pub zone: String,
    /// Capacity weight.
    pub weight: u32,
    /// Nodes to join by; empty founds a cluster on a first start.
    pub join: Vec<String>,
    /// Say nothing on standard output (a supervisor or `torc demo` reads the log instead).
    pub quiet: bool,
    /// Threads that serve; 0 for one a core.
    pub threads: usize,
    /// Memory for memtables and caches, bytes.
    pub memory_bytes: usize,
    /// Keys that clients must show, by signing or by sending one; without any, all requests are served.
    pub access_keys: AccessKeys,
    /// Whether reads of global indexes wait.
    pub index_reads: IndexReads,
    /// Web sites whose pages may use the client port of a node without access keys.
    pub allow_origin: Origins,
    /// What nodes must know to speak to each other; without one, whoever reaches the cluster port may.
    pub cluster_secret: ClusterSecret,
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// Says what to do when the folder or a port can't be had, and what was wrong when the node had to stop by itself.
pub fn run(args: StartArgs) -> anyhow::Result<()> {
    limits::tame_allocator();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().thread_name("torc");
    if args.threads > 0 {
        runtime.worker_threads(args.threads);
    }
    let runtime = runtime.build().context("can't start threads")?;
    runtime.block_on(serve_node(args))
}

async fn serve_node(args: StartArgs) -> anyhow::Result<()> {
    let clock = SystemClock::start();
    check_exposure(&args)?;
    let client_listener = bind(args.listen, "--listen").await?;
    let cluster_listener = bind(args.cluster, "--cluster").await?;
    let advertised = |listener: &TcpListener| -> anyhow::Result<String> {
        let local = listener.local_addr()?;
        Ok(match &args.advertise {
            Some(host) => format!("{host}:{}", local.port()),
            None if local.ip().is_unspecified() => {
                bail!("--advertise HOST is needed: other nodes can't connect to {}", local.ip())
            }
            None => local.to_string(),
        })
    };
    let config = NodeConfig {
        addr: advertised(&cluster_listener)?,
        api_addr: advertised(&client_listener)?,
        zone: args.zone.clone(),
        weight: args.weight,
        join: args.join.clone(),
        index_reads: args.index_reads,
        timing: Timing::default(),
        limits: Limits::default(),
        planted: PlantedBugs::default(),
    };
    // The client port is served from here on: `/health` and `/ready` have an answer while the data is opened and the cluster joined.
    let listen = client_listener.local_addr()?;
    let (serve_node, served_node) = tokio::sync::watch::channel(None);
    let edge = Edge {
        budget: ByteBudget::new(request_bytes(args.memory_bytes)),
        node: served_node,
        door: Doorkeeper {
            origins: args.allow_origin.clone(),
            open: args.access_keys.is_empty(),
            loopback: args.listen.ip().is_loopback(),
            names: args.advertise.clone().into_iter().collect(),
        },
        dynamodb: DynamoDb::with_keys(args.access_keys.clone()),
        ids: RequestIds::new(clock::entropy()?),
        max_connections: limits::raise_files() / 2,
    };
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(client_listener, edge, stop.clone()));
    let (data, memory_bytes) = (args.data.clone(), args.memory_bytes);
    let engine = tokio::task::spawn_blocking(move || open_engine(&data, memory_bytes)).await??;

    let handshake = Handshake::new(args.cluster_secret.clone(), clock::entropy_bytes()?);
    let transport = GrpcTransport::new(tokio::runtime::Handle::current(), handshake.clone());
    let network = Arc::new(NodeNetwork::default());
    transport.set_inbound(network.clone());
    let link = tonic::transport::Server::builder()
        .tcp_nodelay(true)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(8 << 20)
        .add_service(LinkService::new(network.clone(), handshake))
        .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(cluster_listener));
    let link = tokio::spawn(link);

    if !args.join.is_empty() && !args.quiet {
        println!("joining by {} …", args.join.join(", "));
    }
    let ports = Ports {
        clock: Arc::new(clock),
        transport: transport.clone(),
        disk: None,
        seed: clock::entropy()?,
        observers: Default::default(),
    };
    let attach = |node: &Node| {
        network.attach(node.clone());
        serve_node.send_replace(Some(node.clone()));
    };
    let starting = Node::start(config, engine.clone(), ports, attach);
    let node = tokio::select! {
        node = starting => node.context("the node could not start")?,
        signal = signals::stop() => {
            tracing::info!(signal, "stopped before the node had started");
            return Ok(());
        }
    };
    if !args.quiet {
        println!("{}", banner(&node, &args, listen));
    }
    tracing::info!(node = %node.id(), %listen, "serving");

    let outcome = tokio::select! {
        signal = signals::stop() => {
            tracing::info!(signal, "stopping: handing leaderships over");
            Ok(())
        }
        reason = node.failed() => Err(anyhow::anyhow!(reason)),
    };
    if outcome.is_ok() {
        node.shutdown().await;
    }
    stop.cancel();
    // Connections that do not end by themselves must not keep the process.
    let _ = tokio::time::timeout(Duration::from_secs(6), serving).await;
    link.abort();
    engine.close().context("closing the data folder")?;
    outcome
}

/// What all requests of clients may hold beside `--memory`: half of it, within bounds. The least lets one answer of the largest size be made.
fn request_bytes(memory_bytes: usize) -> usize {
    (memory_bytes / 2).clamp(MIN_REQUEST_BYTES, MAX_REQUEST_BYTES)
}

/// Beyond loopback there must be authentication and TLS; this version has no TLS yet: it says so and refuses, unless told otherwise in so many words.
fn check_exposure(args: &StartArgs) -> anyhow::Result<()> {
    let open = [args.listen, args.cluster].into_iter().find(|a| !a.ip().is_loopback());
    match open {
        Some(addr) if std::env::var_os("TORC_INSECURE").is_none_or(|v| v != "1") => bail!(
            "{addr} is reachable from other machines, and this version has no TLS yet: whoever is on the way could read everything. \
             Without --cluster-secret nodes trust whoever reaches --cluster, and without --access-keys clients need no key. Listen on \
             127.0.0.1, or put it behind something that encrypts and set TORC_INSECURE=1."
        ),
        _ => Ok(()),
    }
}

async fn bind(addr: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(addr).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == ErrorKind::AddrInUse => bail!(
            "port {} on {} is in use by another process: stop it, or choose another port with {flag} {}:PORT",
            addr.port(),
            addr.ip(),
            addr.ip()
        ),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            bail!("no permission to listen on {addr}: ports below 1024 need root; choose another with {flag}")
        }
        Err(error) => Err(error).with_context(|| format!("can't listen on {addr} ({flag})")),
    }
}

fn open_engine(data: &Path, memory_bytes: usize) -> anyhow::Result<Engine> {
    let options = Options { memory_budget: Some(memory_bytes), ..Options::default() };
    Engine::open(Arc::new(RealEnv::new()), data, options).map_err(|error| {
        // One line: the engine's own message ends with the cause.
        anyhow::anyhow!("{}: {error}", hint(&error, data))
    })
}

/// What to do about a folder that can't be opened.
fn hint(error: &torc_engine::Error, data: &Path) -> String {
    let data = data.display();
    match error {
        torc_engine::Error::Locked(_) => {
            format!(
                "{data} is open in another torc process: stop that one, or choose another folder with --data"
            )
        }
        torc_engine::Error::Version { .. } => format!(
            "{data} was written by another version of Torc: start that version, or choose another folder with --data. Nothing was changed"
        ),
        torc_engine::Error::Corrupt { .. } => format!(
            "{data} is damaged. Nothing was changed. In a cluster, move the folder away and start the node anew: the others refill it. A single node \
             needs a copy from before the damage"
        ),
        torc_engine::Error::DiskFull { .. } => {
            format!("the disk of {data} is full: make room, or choose another folder with --data")
        }
        torc_engine::Error::Io { source, .. } => match source.kind() {
            ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
                format!("{data} is not a folder: choose another with --data")
            }
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                format!(
                    "this user may not write to {data}: change its permissions, or choose another folder with --data"
                )
            }
            _ => format!("{data} can't be opened: check the disk, or choose another folder with --data"),
        },
        torc_engine::Error::Poisoned => format!("{data} can't be opened"),
    }
}

fn banner(node: &Node, args: &StartArgs, listen: SocketAddr) -> String {
    let topology = node.topology();
    let nodes = topology.nodes().len();
    let endpoint = format!("http://{listen}");
    format!(
        "\nTorc {version}: node {id}, zone {zone}, {nodes} node{s} in the cluster, data in {data}\n\
         \n  DynamoDB  {endpoint}        ({credentials})\
         \n  Buckets   {endpoint}/kv/BUCKET/KEY\
         \n  Cluster   {cluster}   (others join with --join {cluster})\n\
         \nTry:\n\
         \n  export AWS_ACCESS_KEY_ID=torc AWS_SECRET_ACCESS_KEY=torc AWS_DEFAULT_REGION=us-east-1\
         \n  aws dynamodb list-tables --endpoint-url {endpoint}\
         \n  curl -X PUT --data 'hello' {endpoint}/kv/demo/greeting && curl {endpoint}/kv/demo/greeting\
         \n  torc status --endpoint {endpoint}\n",
        version = env!("CARGO_PKG_VERSION"),
        credentials =
            if args.access_keys.is_empty() { "any credentials" } else { "with one of its access keys" },
        id = node.id().0,
        zone = args.zone,
        s = if nodes == 1 { "" } else { "s" },
        data = args.data.display(),
        cluster = topology.node(node.id()).map_or_else(String::new, |n| n.addr.clone()),
    )
}

/// Connects the network to the node once it takes frames; what arrives before is dropped.
#[derive(Default)]
struct NodeNetwork {
    node: OnceLock<Node>,
}

impl NodeNetwork {
    fn attach(&self, node: Node) {
        let _ = self.node.set(node);
    }
}

impl Inbound for NodeNetwork {
    fn deliver(&self, class: Class, frame: Bytes) {
        if let Some(node) = self.node.get() {
            node.deliver(class, frame);
        }
    }

    fn has_room(&self, class: Class) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            if let Some(node) = self.node.get() {
                node.has_room(class).await;
            }
        })
    }

    fn disconnected(&self, addr: &str) {
        if let Some(node) = self.node.get() {
            node.disconnected(addr);
        }
    }

    fn unsent(&self, frame: Bytes) {
        if let Some(node) = self.node.get() {
            node.unsent(frame);
        }
    }
}
