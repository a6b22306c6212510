//! The adapter's command line, as its user meets it: what it says, and how it ends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use plimsoll::units::{Span, Time};
use plimsoll_adapter::clock::Clock;
use plimsoll_sim::samples::Samples;
use tempfile::NamedTempFile;

const CONFIG: &str = "\
apiVersion: autoscaling.plimsoll.dev/v1alpha1
kind: LoadAwareAutoscaler
metadata: {name: shop}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: shop}
  maxReplicas: 10
  load: {histogram: http_request_duration_seconds, weights: {fixed: {}}}
  target: {metricsQPSPerPod: 50}
---
apiVersion: autoscaling.plimsoll.dev/v1alpha1
kind: StaticTargets
metadata: {name: shop}
spec: {targets: [\"http://127.0.0.1:1/metrics\"]}
";

fn config(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn adapter(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll-adapter"));
    command.args(arguments).env_remove("PLIMSOLL_LOG").stdin(Stdio::null());
    command
}

fn serve(file: &NamedTempFile, more: &[&str]) -> Command {
    let path = file.path().to_str().unwrap();
    let ports = ["serve", "--config", path, "--secure-port", "0", "--metrics-bind-address", "127.0.0.1:0"];
    adapter(&[&ports[..], more].concat())
}

fn told(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A running adapter, and what it logs.
struct Running {
    process: Child,
    log: BufReader<ChildStderr>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        Self { process, log }
    }

    /// The first line that has `text` in it.
    fn line_with(&mut self, text: &str) -> String {
        let lines = self.log.by_ref().lines().map_while(Result::ok);
        lines.into_iter().find(|line| line.contains(text)).unwrap_or_else(|| panic!("no line says {text:?}"))
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.process.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_wrong_file_ends_with_2_and_says_where() {
    let file = config(&CONFIG.replace("maxReplicas: 10", "maxReplicas: -1"));
    let (code, text) = told(&serve(&file, &[]).output().unwrap());
    assert_eq!(code, Some(2));
    let expected = format!("{}:6: spec.maxReplicas: a whole number was expected\n", file.path().display());
    assert_eq!(text, expected);
    let missing = adapter(&["serve", "--config", "no/such/file.yaml"]).output().unwrap();
    let (code, text) = told(&missing);
    assert_eq!(code, Some(2));
    assert!(text.starts_with("no/such/file.yaml: cannot be read"), "{text}");
}

#[test]
fn a_server_that_is_not_configured_is_wrong_input_and_a_password_is_not_repeated() {
    let load = "histogram: d, source: {prometheus: {ref: main}}, weights: {fixed: {}}";
    let text = CONFIG.replace("histogram: http_request_duration_seconds, weights: {fixed: {}}", load);
    let file = config(text.split("---").next().unwrap());
    let (code, text) = told(&serve(&file, &[]).output().unwrap());
    assert_eq!(code, Some(2));
    let expected = "7: spec.load.source.prometheus.ref: there is no server \"main\": none is configured: start the adapter \
                    with --prometheus NAME=URL\n";
    assert_eq!(text, format!("{}:{expected}", file.path().display()));
    let (code, text) =
        told(&serve(&file, &["--prometheus", "main=https://me:secret@prometheus"]).output().unwrap());
    assert_eq!(code, Some(2));
    assert!(text.starts_with("plimsoll-adapter: --prometheus main: ") && !text.contains("secret"), "{text}");
    let mut adapter = Running::start(serve(&file, &["--prometheus", "main=http://127.0.0.1:1"]));
    adapter.line_with("the metrics server does not tell the load");
}

#[test]
fn an_address_that_others_reach_is_refused() {
    let (code, text) = told(&serve(&config(CONFIG), &["--bind-address", "0.0.0.0"]).output().unwrap());
    assert_eq!(code, Some(1));
    assert_eq!(
        text,
        "plimsoll-adapter: the external metrics API: 0.0.0.0:0 can be reached from other machines, but requests are not \
         authenticated here: bind a loopback address, such as 127.0.0.1:0 or [::1]:0\n"
    );
    let file = config(CONFIG);
    let path = file.path().to_str().unwrap();
    let mut ops =
        adapter(&["serve", "--config", path, "--secure-port", "0", "--metrics-bind-address", "0.0.0.0:0"]);
    let (code, text) = told(&ops.output().unwrap());
    assert_eq!(code, Some(1));
    assert!(
        text.starts_with("plimsoll-adapter: /metrics and health checks: 0.0.0.0:0 can be reached"),
        "{text}"
    );
}

#[test]
fn an_address_that_is_taken_is_named_once() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, text) = told(&serve(&config(CONFIG), &["--secure-port", &port]).output().unwrap());
    assert_eq!(code, Some(2), "a flag given twice is wrong input: {text}");
    let file = config(CONFIG);
    let path = file.path().to_str().unwrap();
    let mut command = adapter(&["serve", "--config", path, "--secure-port", &port]);
    let (code, text) = told(&command.args(["--metrics-bind-address", "127.0.0.1:0"]).output().unwrap());
    assert_eq!(code, Some(1));
    assert_eq!(
        text,
        format!(
            "plimsoll-adapter: the external metrics API: 127.0.0.1:{port} cannot be bound: Address already in use (os \
             error 98)\n"
        )
    );
}

#[test]
fn a_certificate_that_is_not_there_is_named_once() {
    let (code, text) = told(&serve(&config(CONFIG), &["--cert-dir", "no/such/dir"]).output().unwrap());
    assert_eq!(code, Some(1));
    assert!(text.starts_with("plimsoll-adapter: no/such/dir/tls.crt must hold"), "{text}");
    assert_eq!(text.matches("No such file").count(), 1, "{text}");
}

#[test]
fn a_filter_that_cannot_be_read_is_wrong_input() {
    let (code, _) = told(&serve(&config(CONFIG), &["--log", "x=y=z"]).output().unwrap());
    assert_eq!(code, Some(2));
}

#[test]
fn it_serves_until_it_is_told_to_stop() {
    for signal in ["-TERM", "-INT"] {
        let file = config(CONFIG);
        let mut adapter = Running::start(serve(&file, &[]));
        adapter.line_with("external metrics API: https://127.0.0.1:");
        let line = adapter.line_with("http://127.0.0.1:");
        let address = line.split("http://").nth(1).unwrap().strip_suffix("/metrics").unwrap().to_owned();
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET /healthz HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("\r\n\r\nok"), "{answer}");
        adapter.line_with("unreachable");
        adapter.signal(signal);
        assert!(adapter.process.wait().unwrap().success(), "{signal}");
    }
}

#[test]
fn logs_can_be_read_by_machines() {
    let file = config(CONFIG);
    let mut adapter = Running::start(serve(&file, &["--log-format", "json"]));
    let line = adapter.line_with("watching");
    let entry: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(entry["fields"]["object"], "default/shop");
}

/// A pod that has served 100 fast requests and 10 slow ones more, and used 0.5 CPU-seconds more, each time that it is asked.
/// Tells its URL, and each time that it was asked.
fn pod(started: Time) -> (String, Receiver<u32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    let (asked, told) = channel();
    std::thread::spawn(move || {
        for n in 1.. {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let page = format!(
                "http_request_duration_seconds_bucket{{le=\"0.1\"}} {}\n\
                 http_request_duration_seconds_bucket{{le=\"+Inf\"}} {}\n\
                 process_cpu_seconds_total {}\n\
                 process_start_time_seconds {}\n",
                100 * n,
                110 * n,
                0.5 * f64::from(n),
                started.as_secs_f64()
            );
            let mut request = [0; 4096];
            let read = stream.read(&mut request);
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", page.len());
            if read.is_err() || stream.write_all((head + &page).as_bytes()).is_err() || asked.send(n).is_err()
            {
                return;
            }
        }
    });
    (url, told)
}

/// A pod whose process is a second old: its first page tells rates already.
fn young_pod() -> (String, Receiver<u32>) {
    pod(Clock::system().now() - Span::from_secs(1))
}

fn of_pods(urls: &[&str]) -> NamedTempFile {
    let every_second = CONFIG.replace("load: {", "load: {source: {scrape: {interval: 1s}}, ");
    config(&every_second.replace("\"http://127.0.0.1:1/metrics\"", &urls.join(", ")))
}

fn record(file: &NamedTempFile, out: &Path, more: &[&str]) -> Command {
    let paths = ["record", "--config", file.path().to_str().unwrap(), "--out", out.to_str().unwrap()];
    adapter(&[&paths[..], more].concat())
}

#[test]
fn a_workload_is_recorded_until_it_is_told_to_stop_as_the_fit_reads_it() {
    let old = || pod(Time::from_secs(1_000_000_000));
    let ((first, asked), (second, _kept)) = (old(), old());
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("shop.csv");
    let file = of_pods(&[&first, &second]);
    let mut recorder = Running::start(record(&file, &out, &[]));
    // The rows of the second and third round are written before the fourth begins.
    assert!(asked.iter().any(|n| n == 4));
    recorder.signal("-INT");
    recorder.line_with("shop.csv: ");
    assert!(recorder.process.wait().unwrap().success());
    assert!(std::fs::read_to_string(&out).unwrap().ends_with('\n'));
    let samples = Samples::open(&out).unwrap();
    assert_eq!(samples.classes(), ["le_0.1", "le_+Inf"]);
    let rows = samples.read_all().unwrap();
    assert!(rows.len() >= 2);
    for row in rows {
        let group = &row.sample.groups[0];
        let rates: Vec<f64> = group.histograms[0].rates().iter().map(|rate| rate.get()).collect();
        assert_eq!(row.pods, 2.0);
        // Whatever the time between two rounds was.
        assert!((rates[0] / rates[1] - 10.0).abs() < 1e-9, "{rates:?}");
        assert!((rates[0] / group.cpu.unwrap().get() - 200.0).abs() < 1e-9, "{group:?}");
        assert!(row.sample.at > Time::from_secs(1_700_000_000));
    }
}

#[test]
fn a_recording_ends_by_itself_and_is_not_overwritten_unless_that_is_wanted() {
    let (url, _asked) = young_pod();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("shop.csv");
    std::fs::write(&out, "mine\n").unwrap();
    let file = of_pods(&[&url]);
    let (code, text) = told(&record(&file, &out, &["--for", "1s"]).output().unwrap());
    let path = out.display();
    let expected = format!("plimsoll-adapter: --out {path}: is there already; --force overwrites it\n");
    assert_eq!((code, text), (Some(2), expected));
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "mine\n");
    let (code, text) = told(&record(&file, &out, &["--for", "2s", "--force"]).output().unwrap());
    assert_eq!(code, Some(0), "{text}");
    let content = std::fs::read_to_string(&out).unwrap();
    assert!(content.starts_with("timestamp_s,pods,cpu_cores,le_0.1,le_+Inf,"), "{content}");
    assert!(content.ends_with('\n') && content.lines().count() >= 2, "{content}");
}

#[test]
fn what_cannot_be_recorded_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name);
    // Nobody is there.
    let file = config(CONFIG);
    let (code, text) = told(&record(&file, &out("empty.csv"), &["--for", "1ms"]).output().unwrap());
    let path = out("empty.csv").display().to_string();
    assert_eq!(code, Some(1));
    assert!(text.ends_with(&format!("plimsoll-adapter: {path}: there is nothing in it\n")), "{text}");
    assert!(text.contains(&format!("{path}: 0 rows; ")), "{text}");

    let other = CONFIG.replace("name: shop", "name: cart");
    let both = config(&format!("{CONFIG}---\n{other}"));
    let refused = |file: &NamedTempFile, out: &Path, more: &[&str]| {
        let (code, text) = told(&record(file, out, more).output().unwrap());
        assert_eq!(code, Some(2), "{text}");
        text.strip_prefix("plimsoll-adapter: ").unwrap_or(&text).to_owned()
    };
    let which = "which one is to be recorded? Give --object default/cart or --object default/shop\n";
    assert_eq!(refused(&both, &out("a.csv"), &[]), which);
    let unknown = "there is no LoadAwareAutoscaler default/till: there is default/cart, default/shop\n";
    assert_eq!(refused(&both, &out("a.csv"), &["--object", "default/till"]), unknown);
    let (code, text) =
        told(&record(&both, &out("a.csv"), &["--object", "default/cart", "--for", "1ms"]).output().unwrap());
    assert!(code == Some(1) && text.contains("default/cart"), "{text}");

    let nowhere = refused(&file, Path::new("no/such/dir/a.csv"), &[]);
    assert_eq!(
        nowhere,
        "--out no/such/dir/a.csv: cannot be written: No such file or directory (os error 2)\n"
    );
    assert!(refused(&file, &out("a.csv.gz"), &[]).contains("without .gz"));
    let wrong = config(&CONFIG.replace("maxReplicas: 10", "maxReplicas: -1"));
    assert!(refused(&wrong, &out("b.csv"), &[]).contains(":6: spec.maxReplicas"));
    assert!(!out("b.csv").exists(), "a wrong file costs no recording");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_a_recording() {
    let (url, _asked) = young_pod();
    let (code, text) =
        told(&record(&of_pods(&[&url]), Path::new("/dev/full"), &["--force"]).output().unwrap());
    assert_eq!(code, Some(1));
    let expected =
        "plimsoll-adapter: /dev/full: cannot be written to its end: No space left on device (os error 28)\n";
    assert!(text.ends_with(expected), "{text}");
}

/// The commands of the README, in whatever language it is.
fn commands(readme: &str) -> Vec<&str> {
    let command = |line: &&str| {
        let word = line.trim_start().split(' ').next().unwrap_or_default();
        line.starts_with("    ") && ["cargo", "curl", "docker", "helm", "kubectl"].contains(&word)
    };
    let commands = readme.lines().filter(command);
    commands.map(|line| line.split(" # ").next().unwrap_or_default().trim()).collect()
}

#[test]
fn the_readme_in_chinese_has_no_command_that_the_english_one_has_not() {
    let (english, chinese) = (include_str!("../README.md"), include_str!("../README.zh-CN.md"));
    let (english, chinese) = (commands(english), commands(chinese));
    assert!(chinese.len() >= 8, "{chinese:?}");
    for command in chinese {
        assert!(english.contains(&command), "{command}");
    }
}
