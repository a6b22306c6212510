//! The adapter's command line, as its user meets it: what it says, and how it ends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

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
         authenticated yet: bind a loopback address, such as 127.0.0.1:0 or [::1]:0\n"
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
