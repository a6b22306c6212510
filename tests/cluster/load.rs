//! A load that is shared by the pods of a workload, and the metrics page of each of them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

use plimsoll::units::Time;
use plimsoll_adapter::clock::Clock;
use tokio_rustls::TlsAcceptor;

/// Core-seconds that each request takes.
const COST: f64 = 0.01;

/// Requests per second, spread evenly over the pods that are ready. Clones share it.
#[derive(Clone)]
pub(crate) struct Load(Arc<Mutex<State>>);

/// What pods ask of who reads their page.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) tls: TlsAcceptor,
    pub(crate) token: String,
}

struct State {
    door: Option<Door>,
    hides_cpu: bool,
    /// What `Authorization` was, request by request, since there is a door.
    shown: Vec<String>,
    clock: Clock,
    rate: f64,
    until: Time,
    pods: BTreeMap<String, Pod>,
}

#[derive(Default)]
struct Pod {
    requests: f64,
    is_ready: bool,
    /// CPU in cores used now.
    cpu: f64,
}

/// The lines of a page that tell CPU.
const CPU: &str = "process_cpu_seconds_total";

impl Load {
    pub(crate) fn new(clock: Clock, rate: f64) -> Self {
        let until = clock.now();
        let (door, shown, pods) = (None, Vec::new(), BTreeMap::new());
        Self(Arc::new(Mutex::new(State { door, hides_cpu: false, shown, clock, rate, until, pods })))
    }

    /// From now on pods ask who reads their page.
    pub(crate) fn shut(&self, door: Door) {
        self.0.lock().unwrap().door = Some(door);
    }

    /// From now on pages do not tell CPU, as those of many libraries.
    pub(crate) fn hide_cpu(&self) {
        self.0.lock().unwrap().hides_cpu = true;
    }

    pub(crate) fn door(&self) -> Option<Door> {
        self.0.lock().unwrap().door.clone()
    }

    /// What was shown at the doors so far.
    pub(crate) fn shown(&self) -> Vec<String> {
        self.0.lock().unwrap().shown.clone()
    }

    /// Whether who shows this is let in.
    pub(crate) fn lets_in(&self, authorization: Option<&str>) -> bool {
        let mut state = self.0.lock().unwrap();
        let Some(door) = &state.door else { return true };
        let is_let_in = authorization == Some(&format!("Bearer {}", door.token));
        state.shown.push(authorization.unwrap_or_default().to_owned());
        is_let_in
    }

    /// From now on so many requests come each second.
    pub(crate) fn set(&self, rate: f64) {
        let mut state = self.0.lock().unwrap();
        state.advance();
        state.rate = rate;
    }

    pub(crate) fn rate(&self) -> f64 {
        self.0.lock().unwrap().rate
    }

    pub(crate) fn pod_is(&self, pod: &str, is_ready: bool) {
        let mut state = self.0.lock().unwrap();
        state.advance();
        state.pods.entry(pod.to_owned()).or_default().is_ready = is_ready;
    }

    pub(crate) fn pod_is_gone(&self, pod: &str) {
        let mut state = self.0.lock().unwrap();
        state.advance();
        state.pods.remove(pod);
    }

    /// Cores that each pod uses.
    pub(crate) fn all_cpu(&self) -> Vec<(String, f64)> {
        let mut state = self.0.lock().unwrap();
        state.advance();
        state.pods.iter().map(|(name, pod)| (name.clone(), pod.cpu)).collect()
    }

    /// The metrics page of one pod; none if there is no such pod.
    pub(crate) fn page(&self, pod: &str) -> Option<String> {
        let mut state = self.0.lock().unwrap();
        state.advance();
        let requests = state.pods.get(pod)?.requests;
        let hides_cpu = state.hides_cpu;
        let mut page = String::from("# TYPE http_request_duration_seconds histogram\n");
        let name = "http_request_duration_seconds";
        for le in ["0.05", "0.1", "+Inf"] {
            writeln!(page, "{name}_bucket{{le=\"{le}\"}} {}", requests.floor()).unwrap();
        }
        writeln!(page, "{name}_sum {}", requests.floor() * 0.02).unwrap();
        writeln!(page, "{name}_count {}", requests.floor()).unwrap();
        if !hides_cpu {
            writeln!(page, "# TYPE {CPU} counter\n{CPU} {}", requests * COST).unwrap();
        }
        Some(page)
    }
}

impl State {
    fn advance(&mut self) {
        let now = self.clock.now();
        let passed = (now - self.until).as_secs_f64();
        self.until = now;
        let ready = self.pods.values().filter(|pod| pod.is_ready).count();
        let each = if ready == 0 { 0.0 } else { self.rate / ready as f64 };
        for pod in self.pods.values_mut() {
            let share = if pod.is_ready { each } else { 0.0 };
            pod.requests += share * passed;
            pod.cpu = share * COST;
        }
    }
}
