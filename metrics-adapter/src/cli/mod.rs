//! The command line: flags as typed, then one function a command.

mod ask;
mod rules;
mod servers;
mod signals;

use std::io::{IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use plimsoll::units::Span;
use plimsoll_sim::cost::PriceFileError;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use servers::ServerFlags;
use signals::{Signals, run_until_told, wait};

use crate::adapter::{Adapter, Listen};
use crate::clock::Clock;
use crate::collect::prometheus::EndpointError;
use crate::config::{Config, ConfigError, ServersError};
use crate::record::{RecordError, Recorder};
use crate::stop;
use crate::{demo, record, reference, resource, run};

/// Serves a workload's MetricsQPS and desired replicas through external.metrics.k8s.io.
#[derive(Debug, Parser)]
#[command(version = version(), about)]
pub struct Args {
    /// What to log: a level, or several of `target=level`, such as info,plimsoll_adapter::collect=debug.
    /// Default: info, and warn for the demo.
    #[arg(long, global = true, env = "PLIMSOLL_LOG", value_name = "FILTER")]
    log: Option<Targets>,

    /// How to log.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,

    #[command(subcommand)]
    command: Command,
}

/// The version, and of what commit where whoever built it said so.
fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| match option_env!("PLIMSOLL_COMMIT") {
        Some(commit) if !commit.is_empty() => format!("{} ({commit})", env!("CARGO_PKG_VERSION")),
        _ => env!("CARGO_PKG_VERSION").to_owned(),
    });
    &VERSION
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Work in a cluster: watch LoadAwareAutoscalers, measure, decide, act, and answer the API server.
    Run(Run),
    /// Scrape the workloads of a file and answer for them, without a cluster.
    Serve(Serve),
    /// Write what the pods of a workload tell to a file, for plimsoll-sim fit.
    Record(Record),
    /// Write Prometheus recording rules, by which a metrics server counts the classes of requests and their MetricsQPS itself.
    Rules(rules::Rules),
    /// Show the whole loop on this machine: simulated pods, the real adapter, an HPA that follows it.
    Demo(Demo),
    /// Say why a workload has as many replicas as it has, by the status of its LoadAwareAutoscaler.
    Explain(ask::Explain),
    /// Look at everything that must be right between a workload's pods and its HPA, and say what is not.
    Preflight(ask::Preflight),
    /// Say what each way of scaling would have made of a workload's past, as a metrics server knows it.
    Backtest(ask::Backtest),
    /// Say what pods have cost, by autoscaler and by the settings that were in force, as a metrics server knows it.
    Cost(ask::Cost),
    /// Print the completion script of a shell: source <(plimsoll-adapter completion bash).
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page: plimsoll-adapter man | man -l -.
    Man,
    /// Print the definition of the custom resource LoadAwareAutoscaler, to be applied to a cluster.
    Crd,
    /// Print docs/reference.md: every field and every metric, as they are defined.
    #[command(hide = true)]
    Reference,
}

#[derive(Debug, Parser)]
struct Demo {
    /// Seconds that pass in the demo for each second of yours, 1 to 300.
    #[arg(long, default_value_t = 60.0, value_parser = speed, value_name = "FACTOR")]
    speed: f64,

    /// End by itself after so much of your time, such as 60s. Without it Ctrl-C ends the demo.
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<Span>,

    /// Another seed makes other requests.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Port of the external metrics API; 0 takes a free one.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    secure_port: u16,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok().filter(|speed| (1.0..=300.0).contains(speed));
    speed.ok_or_else(|| "give a number from 1 to 300".to_owned())
}

#[derive(Debug, Parser)]
struct Run {
    #[command(flatten)]
    prometheus: ServerFlags,

    /// Look after objects of this namespace alone. Default: all.
    #[arg(long, value_name = "NAMESPACE")]
    watch_namespace: Option<String>,

    /// Address of the external metrics API.
    #[arg(long, default_value_t = IpAddr::V6(Ipv6Addr::UNSPECIFIED), value_name = "IP")]
    bind_address: IpAddr,

    /// Port of the external metrics API; 0 takes a free one.
    #[arg(long, default_value_t = 6443, value_name = "PORT")]
    secure_port: u16,

    /// Address of /metrics, which tells every object's load to whoever can reach it.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "IP:PORT")]
    metrics_bind_address: SocketAddr,

    /// Address of /healthz and /readyz.
    #[arg(long, default_value = "[::]:8081", value_name = "IP:PORT")]
    health_probe_bind_address: SocketAddr,

    /// Address of the console, which asks nobody who they are: a loopback one, reached by kubectl port-forward; or off.
    #[arg(long, default_value = "127.0.0.1:8082", value_parser = console, value_name = "IP:PORT|off")]
    console_bind_address: ConsoleAddress,

    /// Directory with tls.crt and tls.key, read again when they change. Without it a certificate is made, and its CA is put into
    /// the APIService.
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,

    /// Directory for what is learned of each workload's load, so that a restart forgets nothing.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// Whether there may be several adapters, of which one leads.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    leader_elect: bool,

    /// The adapter's own namespace.
    #[arg(long, env = "POD_NAMESPACE", default_value = "plimsoll-system", value_name = "NAMESPACE")]
    namespace: String,

    /// The adapter's own pod, which is marked while it leads.
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pod_name: Option<String>,

    /// The Service in the adapter's own namespace by which the API server reaches it.
    #[arg(long, default_value = "plimsoll-adapter", value_name = "NAME")]
    service: String,

    /// That Service's port.
    #[arg(long, default_value_t = 443, value_name = "PORT")]
    service_port: u16,

    /// Whether to register as the one who answers external metrics, if nobody else does.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    register_api_service: bool,

    /// A ClusterRole; when it is deleted, so is the registration.
    #[arg(long, value_name = "NAME")]
    api_service_owner: Option<String>,
}

/// Where the console is; none where it is not.
#[derive(Debug, Clone, Copy)]
struct ConsoleAddress(Option<SocketAddr>);

fn console(text: &str) -> Result<ConsoleAddress, String> {
    match text {
        "off" => Ok(ConsoleAddress(None)),
        _ => text
            .parse()
            .map(|address| ConsoleAddress(Some(address)))
            .map_err(|_| "give an address such as 127.0.0.1:8082, or off".into()),
    }
}

#[derive(Debug, Parser)]
struct Serve {
    /// LoadAwareAutoscaler documents, and a StaticTargets document of the same name for each.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    #[command(flatten)]
    prometheus: ServerFlags,

    /// Address of the external metrics API. Requests are not authenticated, so only loopback is taken.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_name = "IP")]
    bind_address: IpAddr,

    /// Port of the external metrics API; 0 takes a free one.
    #[arg(long, default_value_t = 6443, value_name = "PORT")]
    secure_port: u16,

    /// Address of /metrics, /healthz and /readyz; loopback only, for the same reason.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "IP:PORT")]
    metrics_bind_address: SocketAddr,

    /// Directory with tls.crt and tls.key. Without it a self-signed certificate is made.
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,

    /// Directory for what is learned of each workload's load, so that a restart forgets nothing. Without it every start begins anew.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

#[derive(Debug, Parser)]
struct Record {
    /// The file that serve reads: a LoadAwareAutoscaler and its StaticTargets.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    #[command(flatten)]
    prometheus: ServerFlags,

    /// Which LoadAwareAutoscaler, if the file has several.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    object: Option<String>,

    /// Where the rows go, one a round.
    #[arg(long, value_name = "FILE.csv")]
    out: PathBuf,

    /// End by itself after so much time, such as 24h. Without it Ctrl-C ends it.
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<Span>,

    /// Overwrite the file if it is there already.
    #[arg(long)]
    force: bool,
}

impl Args {
    /// Runs the command. 2 means that the input was wrong, 1 that something failed.
    pub fn run(self) -> ExitCode {
        let Self { log, log_format, command } = self;
        let usual = match command {
            Command::Run(_) | Command::Serve(_) | Command::Record(_) => LevelFilter::INFO,
            _ => LevelFilter::WARN,
        };
        // What the library for the cluster's API says of each try is said once more by whoever tried.
        let usual = Targets::new().with_default(usual).with_target("kube_client", LevelFilter::OFF);
        start_logging(log.unwrap_or(usual), log_format);
        let runtime = tokio::runtime::Runtime::new().context("the runtime cannot be started");
        let result = runtime.and_then(|runtime| {
            runtime.block_on(async {
                match command {
                    Command::Run(run) => run.run().await,
                    Command::Serve(serve) => serve.run().await,
                    Command::Record(record) => record.run().await,
                    Command::Rules(rules) => tolerate_broken_pipe(rules.run().await),
                    Command::Demo(demo) => demo.run().await,
                    Command::Explain(explain) => tolerate_broken_pipe(explain.run().await),
                    Command::Preflight(preflight) => tolerate_broken_pipe(preflight.run().await),
                    Command::Backtest(backtest) => tolerate_broken_pipe(backtest.run().await),
                    Command::Cost(cost) => tolerate_broken_pipe(cost.run().await),
                    Command::Completion { shell } => {
                        let mut script = Vec::new();
                        clap_complete::generate(shell, &mut Args::command(), PROGRAM, &mut script);
                        tolerate_broken_pipe(print(&script))
                    }
                    Command::Man => tolerate_broken_pipe(print_manual()),
                    Command::Reference => tolerate_broken_pipe(print_reference()),
                    Command::Crd => tolerate_broken_pipe(print_definition()),
                }
            })
        });
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                if let Some(config) = error.downcast_ref::<ConfigError>() {
                    // Lines that an editor can jump to.
                    eprintln!("{config}");
                    return ExitCode::from(2);
                }
                eprintln!("plimsoll-adapter: {error:#}");
                let is_wrong = error.is::<ServersError>()
                    || error.is::<RecordError>()
                    || error.is::<EndpointError>()
                    || error.is::<PriceFileError>();
                if is_wrong { ExitCode::from(2) } else { ExitCode::FAILURE }
            }
        }
    }
}

fn start_logging(filter: Targets, format: LogFormat) {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
}

/// A client of the cluster around this process, or of the kubeconfig's.
async fn cluster() -> anyhow::Result<kube::Client> {
    // Its causes are in what it says already.
    let config = kube::Config::infer().await.map_err(|error| {
        anyhow::anyhow!("there is neither a cluster around this process nor a kubeconfig, which KUBECONFIG may name ({error})")
    })?;
    kube::Client::try_from(config).context("the cluster's API")
}

impl Run {
    async fn run(self) -> anyhow::Result<()> {
        let servers = self.prometheus.servers()?;
        let client = cluster().await?;
        let options = run::Options {
            api: SocketAddr::new(self.bind_address, self.secure_port),
            ops: self.metrics_bind_address,
            health: Some(self.health_probe_bind_address),
            console: self.console_bind_address.0,
            cert_dir: self.cert_dir,
            state_dir: self.state_dir,
            watch_namespace: self.watch_namespace,
            servers,
            namespace: self.namespace,
            pod: self.pod_name,
            elects: self.leader_elect,
            service: self.service,
            service_port: self.service_port,
            registers: self.register_api_service,
            owner: self.api_service_owner,
        };
        run_until_told(|stop| run::run(options, client, Clock::system(), stop)).await
    }
}

impl Serve {
    async fn run(self) -> anyhow::Result<()> {
        let Self { config, prometheus, bind_address, secure_port, metrics_bind_address, cert_dir, state_dir } =
            self;
        let servers = prometheus.servers()?;
        let config = Config::read(&config, &servers)?;
        let api = SocketAddr::new(bind_address, secure_port);
        let listen = Listen { cert_dir, state_dir, ..Listen::locally(api, metrics_bind_address) };
        let mut adapter = Adapter::bind(listen, Clock::system()).await?;
        for (key, configured) in config.objects {
            let (pods, interval) = (configured.pods(), configured.spec.interval);
            tracing::info!(object = %key, pods, %interval, "watching");
            adapter.add(configured.into_object(key));
        }
        tracing::info!("external metrics API: https://{}", adapter.api_addr());
        tracing::info!("metrics and health:   http://{}/metrics", adapter.ops_addr());
        tracing::info!("console:              http://{}/", adapter.ops_addr());
        run_until_told(|stop| async { Ok(adapter.run(stop).await?) }).await
    }
}

impl Record {
    async fn run(self) -> anyhow::Result<()> {
        let Self { config, prometheus, object, out, duration, force } = self;
        let servers = prometheus.servers()?;
        let (key, configured) = record::choose(Config::read(&config, &servers)?, object.as_deref())?;
        let mut signals = Signals::new().context("signals cannot be caught")?;
        let file = record::create(&out, force)?;
        let (pods, interval) = (configured.pods(), configured.spec.interval);
        tracing::info!(object = %key, pods, %interval, "recording");
        let object = configured.into_object(key);
        let clock = Clock::system();
        let mut recorder = Recorder::new(object, clock.clone(), file);
        let ended = tokio::select! {
            error = recorder.run() => Err(error),
            () = wait(&clock, duration) => Ok(()),
            _ = signals.next() => Ok(()),
        };
        let (rows, left_out) = (recorder.rows(), recorder.left_out());
        eprintln!(
            "{}: {rows} rows; {left_out} rounds left out: not every ready pod told its requests and CPU, which takes two rounds",
            out.display()
        );
        ended.with_context(|| format!("{}: cannot be written to its end", out.display()))?;
        anyhow::ensure!(rows > 0, "{}: there is nothing in it", out.display());
        Ok(())
    }
}

impl Demo {
    async fn run(self) -> anyhow::Result<()> {
        let Self { speed, duration, seed, secure_port } = self;
        let api = SocketAddr::from((Ipv4Addr::LOCALHOST, secure_port));
        let (stopper, stop) = stop::channel();
        let mut signals = Signals::new().context("signals cannot be caught")?;
        let mut out = std::io::stdout();
        let mut demo = std::pin::pin!(demo::run(demo::Options { speed, seed, api }, &mut out, stop));
        let clock = Clock::system();
        tokio::select! {
            ended = &mut demo => return tolerate_broken_pipe(ended),
            () = wait(&clock, duration) => {}
            _ = signals.next() => {}
        }
        stopper.stop();
        tokio::select! {
            ended = demo => tolerate_broken_pipe(ended),
            name = signals.next() => anyhow::bail!("{name} again: stopped at once"),
        }
    }
}

/// What the program is called.
const PROGRAM: &str = "plimsoll-adapter";

fn print(text: &[u8]) -> anyhow::Result<()> {
    Ok(std::io::stdout().write_all(text)?)
}

fn print_definition() -> anyhow::Result<()> {
    let definition = resource::definition_as_yaml().context("the definition of the custom resource")?;
    print(definition.as_bytes())
}

fn print_reference() -> anyhow::Result<()> {
    let reference = reference::reference().context("the reference")?;
    print(reference.as_bytes())
}

/// One page for the program and all its commands.
fn print_manual() -> anyhow::Result<()> {
    let mut program = Args::command();
    program.build();
    let mut page = Vec::new();
    clap_mangen::Man::new(program.clone()).render(&mut page)?;
    for command in program.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = format!("{PROGRAM} {}", command.get_name());
        page.extend(format!("\n.SH {}\n", name.to_uppercase()).as_bytes());
        let manual = clap_mangen::Man::new(command.clone());
        manual.render_synopsis_section(&mut page)?;
        manual.render_description_section(&mut page)?;
        manual.render_options_section(&mut page)?;
    }
    print(&page)
}

/// Whoever reads the output may have seen enough.
fn tolerate_broken_pipe(result: anyhow::Result<()>) -> anyhow::Result<()> {
    result.or_else(|error| match error.downcast_ref::<std::io::Error>() {
        Some(io) if io.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(error),
    })
}
