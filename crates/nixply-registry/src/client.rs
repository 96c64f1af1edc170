//! The client of registries: what all requests of a program share.

use crate::host::Host;
use crate::keychain::Keychain;
use crate::limit::Limiter;
use crate::repository::{Access, Repository};
use crate::retry::RetryBudget;
use crate::transport::Transports;
use crate::{Credentials, RegistryError};
use nixply_oci::ImageReference;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::{self, Runtime};

/// Threads that drive sockets and TLS. One keeps up with a few hundred MB/s; two keep one busy connection from
/// holding up the answers of the others.
const NETWORK_THREADS: usize = 2;

/// How a client uses the network.
#[derive(Clone)]
pub struct ClientOptions {
    /// Do what Docker does for an entry of `insecure-registries` and skopeo for `--tls-verify=false`: speak HTTPS
    /// without checking the certificate, and plain HTTP if no HTTPS answers. Loopback hosts are spoken to in plain
    /// HTTP without this, and by HTTPS if that is what they speak.
    pub insecure: bool,
    /// Certificate authorities to trust beside the system's, each a PEM file's content with one certificate or more.
    pub ca_certificates: Vec<Vec<u8>>,
    /// Who this client is to registries that want a certificate: a PEM file's content with the certificate, those
    /// between it and its authority, and the private key.
    pub client_identity: Option<Vec<u8>>,
    /// Directories in which each registry may have a directory `HOST[:PORT]` with certificates for it alone, as
    /// `/etc/docker/certs.d`. The first that has one counts. By default none.
    pub certificate_dirs: Vec<PathBuf>,
    /// How long a connection may take to open, TLS included. By default 15 s: a packet that opens a connection is sent
    /// again after 1, 3 and 7 seconds, and each of these gets its chance.
    pub connect_timeout: Duration,
    /// How long an answer may take once its request has gone out. By default 60 s, which is what proxies wait, too.
    /// Five times as long where the registry hashes and moves a blob before it answers: some storages copy all of it,
    /// which takes minutes for the largest layers.
    pub first_byte_timeout: Duration,
    /// How long a request or an answer that is on its way may stand still, with no byte moving in either direction. By
    /// default 60 s: TCP itself has tried eight times by then. A layer that is still being made is not standing still.
    pub stall_timeout: Duration,
    /// How often a request is tried again. By default 6 times, over some 16 seconds: a registry restarts in less.
    pub retries_per_request: u32,
    /// How often a request is tried again to a host that has never answered, at most as often as any. By default
    /// twice: a wrong port is told soon.
    pub first_contact_retries: u32,
    /// How often all requests of the client together are tried again. By default 100 times: a restart of the registry
    /// costs each request that is under way a few, and a registry that fails always ends a push within minutes.
    pub retry_budget: u32,
    /// How many requests run at once; 0 counts as 1. By default 8: enough to hide a round trip, below what registries
    /// call abuse. A registry that answers 429 gets fewer.
    pub connections: usize,
    /// Hears of every request.
    pub observer: Option<Arc<dyn RequestObserver>>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            insecure: false,
            ca_certificates: Vec::new(),
            client_identity: None,
            certificate_dirs: Vec::new(),
            connect_timeout: Duration::from_secs(15),
            first_byte_timeout: Duration::from_mins(1),
            stall_timeout: Duration::from_mins(1),
            retries_per_request: 6,
            first_contact_retries: 2,
            retry_budget: 100,
            connections: 8,
            observer: None,
        }
    }
}

impl fmt::Debug for ClientOptions {
    /// Without the private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("insecure", &self.insecure)
            .field("connect_timeout", &self.connect_timeout)
            .field("first_byte_timeout", &self.first_byte_timeout)
            .field("stall_timeout", &self.stall_timeout)
            .field("retries_per_request", &self.retries_per_request)
            .field("retry_budget", &self.retry_budget)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

/// What became of a request. URLs come without queries, which carry signatures that are as good as a password.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestEvent<'a> {
    /// An answer has begun.
    Answered {
        /// The request's method.
        method: &'static str,
        /// The request's URL.
        url: &'a str,
        /// The answer's status.
        status: u16,
        /// How long it took from when the request had its turn.
        duration: Duration,
    },
    /// No answer came.
    Failed {
        /// The request's method.
        method: &'static str,
        /// The request's URL.
        url: &'a str,
        /// Why, as far as the outermost error tells.
        reason: &'a str,
        /// How long it took from when the request had its turn.
        duration: Duration,
    },
    /// Something failed and will be tried again.
    Retrying {
        /// What failed and why.
        reason: &'a str,
        /// How often it failed so far.
        failures: u32,
        /// How long the client waits first.
        wait: Duration,
    },
}

/// Hears of requests, from several threads at once. No event carries a secret.
pub trait RequestObserver: Send + Sync {
    /// Something happened. The request waits until this returns.
    fn event(&self, event: &RequestEvent<'_>);
}

/// What a client moved so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Requests that were sent, those of retries, redirects and token services included.
    pub requests: u64,
    /// How often something was tried again after it had failed.
    pub retries: u64,
    /// Bytes of bodies that went to the network.
    pub bytes_sent: u64,
    /// Bytes of bodies that came from it.
    pub bytes_received: u64,
}

/// What the requests of one client share.
pub(crate) struct Shared {
    pub(crate) keychain: Arc<dyn Keychain>,
    pub(crate) options: ClientOptions,
    pub(crate) transports: Transports,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) retries: RetryBudget,
    pub(crate) counters: Counters,
    hosts: Mutex<BTreeMap<String, Arc<Host>>>,
}

/// The running numbers of [`Traffic`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
}

impl Counters {
    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.bytes_sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.bytes_received
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// A client of registries: connections, tokens and limits, shared by all that is done with it.
///
/// Cheap to clone. It owns the threads that speak to the network; what blocks on them must not be called from inside an
/// asynchronous task.
#[derive(Clone)]
pub struct Client {
    runtime: Arc<Runtime>,
    shared: Arc<Shared>,
}

impl Client {
    /// Starts a client. It opens no connection and reads no credentials yet.
    pub fn new(keychain: Arc<dyn Keychain>, options: ClientOptions) -> Result<Self, RegistryError> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(NETWORK_THREADS)
            .thread_name("nixply-network")
            .enable_all()
            .build()
            .map_err(|error| RegistryError::Client(error.into()))?;
        let shared = Shared {
            keychain,
            transports: Transports::new(&options)?,
            limiter: Limiter::new(options.connections),
            retries: RetryBudget::new(
                options.retries_per_request,
                options.first_contact_retries,
                options.retry_budget,
            ),
            counters: Counters::default(),
            hosts: Mutex::default(),
            options,
        };
        Ok(Self {
            runtime: Arc::new(runtime),
            shared: Arc::new(shared),
        })
    }

    /// What was moved so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let counters = &self.shared.counters;
        Traffic {
            requests: counters.requests.load(Ordering::Relaxed),
            retries: self.shared.retries.used(),
            bytes_sent: counters.bytes_sent.load(Ordering::Relaxed),
            bytes_received: counters.bytes_received.load(Ordering::Relaxed),
        }
    }

    /// The runtime that all requests run on.
    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The repository that an image is in. No request is made.
    pub(crate) fn repository(
        &self,
        reference: &ImageReference,
        access: Access,
    ) -> Result<Repository, RegistryError> {
        let host = self.shared.host(reference)?;
        Ok(Repository::new(
            Arc::clone(&self.shared),
            host,
            reference,
            access,
        ))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("options", &self.shared.options)
            .field("traffic", &self.traffic())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// The state of the host that an image is on.
    fn host(&self, reference: &ImageReference) -> Result<Arc<Host>, RegistryError> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get(reference.host()) {
            return Ok(Arc::clone(host));
        }
        let host = Arc::new(Host::new(reference.host(), &self.options)?);
        hosts.insert(reference.host().to_owned(), Arc::clone(&host));
        Ok(host)
    }

    /// The credentials for a repository.
    pub(crate) async fn credentials(
        self: &Arc<Self>,
        host: &Host,
        repository: &str,
    ) -> Result<Credentials, RegistryError> {
        let (name, repository) = (host.name().to_owned(), repository.to_owned());
        let keychain = Arc::clone(&self.keychain);
        let resolve = move || keychain.resolve(&name, &repository);
        match tokio::task::spawn_blocking(resolve).await {
            Ok(credentials) => credentials.map_err(RegistryError::Credentials),
            Err(error) => Err(RegistryError::Client(error.into())),
        }
    }

    /// Tells the observer.
    pub(crate) fn tell(&self, event: &RequestEvent<'_>) {
        if let Some(observer) = &self.options.observer {
            observer.event(event);
        }
    }
}
