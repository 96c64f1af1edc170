//! A proxy between a client and a registry that makes faults and notes what passes.

use super::faults::{Fault, Phase, Rule};
use super::message::RequestHead;
use super::random::RandomFaults;
use super::relay;
use super::serve::Server;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long the log waits for requests that are under way. Those that stall for longer are seen as far as they are.
const SETTLING_TIMEOUT: Duration = Duration::from_millis(500);

/// A request that came to the proxy, and what became of it.
#[derive(Debug, Clone)]
pub struct Passed {
    /// The step of the protocol.
    pub phase: Phase,
    /// The request line and headers.
    pub request: RequestHead,
    /// The bytes of the request's body that went on to the registry.
    pub sent_bytes: u64,
    /// The status of the answer that went to the client; `None` if none did.
    pub status: Option<u16>,
    /// The bytes of the answer's body that went to the client.
    pub received_bytes: u64,
    /// The fault that happened.
    pub fault: Option<String>,
}

/// A proxy on a free loopback port in front of a registry that speaks plain HTTP, real or not.
///
/// It keeps the `Host` header, so a registry's answers lead back to the proxy.
///
/// ```no_run
/// use nixply_testkit::registry::{Fault, FaultProxy, Phase, RegistryProcess, Rule};
///
/// let Some(registry) = RegistryProcess::start() else {
///     return;
/// };
/// let twice = Rule::on(Phase::UploadPut, Fault::ResetRequest { after_bytes: 1000 }).times(2);
/// let proxy = FaultProxy::start(registry.host(), vec![twice]);
/// // … push to proxy.host() …
/// assert_eq!(proxy.count(Phase::UploadPut), 3);
/// ```
#[derive(Debug)]
pub struct FaultProxy {
    server: Server,
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) registry_host: String,
    pub(super) relayed_bytes: AtomicU64,
    plan: Mutex<Plan>,
    log: Mutex<Log>,
}

/// Requests, and how many before them are forgotten.
#[derive(Debug, Default)]
struct Log {
    n_forgotten: usize,
    n_under_way: usize,
    passed: Vec<Passed>,
}

#[derive(Debug)]
enum Plan {
    Rules(Vec<Rule>),
    Random(RandomFaults),
}

impl FaultProxy {
    /// Starts a proxy in front of a host.
    #[must_use]
    pub fn start(registry_host: &str, rules: Vec<Rule>) -> Self {
        Self::start_with(registry_host, Plan::Rules(rules))
    }

    /// Starts a proxy that makes faults as they come out of a seed.
    #[must_use]
    pub fn start_random(registry_host: &str, faults: RandomFaults) -> Self {
        Self::start_with(registry_host, Plan::Random(faults))
    }

    fn start_with(registry_host: &str, plan: Plan) -> Self {
        let shared = Arc::new(Shared {
            registry_host: registry_host.to_owned(),
            relayed_bytes: AtomicU64::new(0),
            plan: Mutex::new(plan),
            log: Mutex::default(),
        });
        let for_connections = Arc::clone(&shared);
        let server = Server::start(move |client| relay::serve(&client, &for_connections));
        Self { server, shared }
    }

    /// The host to push to: `127.0.0.1` and the port.
    #[must_use]
    pub fn host(&self) -> String {
        self.server.host()
    }

    /// Replaces the rules, or the random faults, from the next request on.
    pub fn set_rules(&self, rules: Vec<Rule>) {
        *lock(&self.shared.plan) = Plan::Rules(rules);
    }

    /// Every request so far, in the order received.
    #[must_use]
    pub fn log(&self) -> Vec<Passed> {
        self.settled_log().passed.clone()
    }

    /// The log once the requests that a client has its answers to are noted to their end.
    fn settled_log(&self) -> MutexGuard<'_, Log> {
        let start = Instant::now();
        loop {
            let log = lock(&self.shared.log);
            if log.n_under_way == 0 || start.elapsed() > SETTLING_TIMEOUT {
                return log;
            }
            drop(log);
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        let mut log = self.settled_log();
        log.n_forgotten += log.passed.len();
        log.passed.clear();
    }

    /// How many requests so far were of this phase.
    #[must_use]
    pub fn count(&self, phase: Phase) -> usize {
        let log = self.settled_log();
        let of_phase = log.passed.iter().filter(|passed| passed.phase == phase);
        of_phase.count()
    }

    /// The bytes of request bodies that went on to the registry.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        let log = self.settled_log();
        log.passed.iter().map(|passed| passed.sent_bytes).sum()
    }

    /// What went on to the registry so far, heads and bodies, those of requests that are under way included.
    #[must_use]
    pub fn relayed_bytes(&self) -> u64 {
        self.shared.relayed_bytes.load(Ordering::SeqCst)
    }

    /// The requests so far that a fault happened to, for messages of tests.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let log = self.settled_log();
        log.passed
            .iter()
            .filter_map(|passed| {
                let fault = passed.fault.as_ref()?;
                Some(format!("{:?}: {fault}", passed.phase))
            })
            .collect()
    }
}

impl Shared {
    /// The fault for a request of a phase.
    pub(super) fn fault(&self, phase: Phase, request: &RequestHead) -> Option<Fault> {
        match &mut *lock(&self.plan) {
            Plan::Rules(rules) => rules.iter_mut().find_map(|rule| rule.meet(phase, request)),
            Plan::Random(faults) => faults.meet(phase),
        }
    }

    /// Notes a request that has come, before anything is known of its end; [`end`](Self::end) has to follow.
    pub(super) fn note(&self, phase: Phase, request: &RequestHead) -> usize {
        let mut log = lock(&self.log);
        log.passed.push(Passed {
            phase,
            request: request.clone(),
            sent_bytes: 0,
            status: None,
            received_bytes: 0,
            fault: None,
        });
        log.n_under_way += 1;
        log.n_forgotten + log.passed.len() - 1
    }

    /// Notes that nothing more will become known of a request.
    pub(super) fn end(&self) {
        lock(&self.log).n_under_way -= 1;
    }

    /// Notes a connection that was reset before anything was said.
    pub(super) fn note_refused(&self) {
        let request_idx = self.note(Phase::Connect, &RequestHead::none());
        self.update(request_idx, |passed| {
            passed.fault = Some("connection refused".to_owned());
        });
        self.end();
    }

    /// Notes what became of a request.
    pub(super) fn update(&self, request_idx: usize, change: impl FnOnce(&mut Passed)) {
        let mut log = lock(&self.log);
        let place = request_idx.checked_sub(log.n_forgotten);
        // A test may have forgotten it meanwhile.
        if let Some(passed) = place.and_then(|place| log.passed.get_mut(place)) {
            change(passed);
        }
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
