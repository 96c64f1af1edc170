//! The HTTP clients beneath: who is reached by TLS, with which certificates, and through a proxy or not.
//!
//! There are at most four, and one for every host that has certificates of its own, made when first needed: certificates
//! are read only for somebody who speaks TLS, so plain HTTP works on a machine that has none. All speak HTTP/1.1 and keep connections open.

use crate::host_certificates::{HostCertificates, IDENTITY, authorities, directory_of, identity};
use crate::{ClientOptions, RegistryError};
use reqwest::{Certificate, Identity, Url};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// What registries see as the client.
const USER_AGENT: &str = concat!("nixply/", env!("CARGO_PKG_VERSION"));

/// What decides how somebody is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    tls: bool,
    loopback: bool,
}

/// The HTTP clients, by whom they speak to.
#[derive(Debug)]
pub(crate) struct Transports {
    insecure: bool,
    connect_timeout: std::time::Duration,
    certificates: Vec<Certificate>,
    identity: Option<Identity>,
    certificate_dirs: Vec<PathBuf>,
    made: Mutex<Made>,
}

/// The clients that were needed so far.
#[derive(Debug, Default)]
struct Made {
    clients: BTreeMap<Way, reqwest::Client>,
    /// By host; `None` for hosts without certificates of their own.
    of_hosts: BTreeMap<String, Option<reqwest::Client>>,
}

impl Transports {
    /// Reads what the options say about TLS; opens nothing.
    pub(crate) fn new(options: &ClientOptions) -> Result<Self, RegistryError> {
        // Another provider may be installed already by the program that uses this crate; that one then serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut certificates = Vec::new();
        for pem in &options.ca_certificates {
            certificates.extend(authorities(pem)?);
        }
        let identity = options.client_identity.as_deref().map(identity);
        let identity = identity.transpose()?;
        Ok(Self {
            insecure: options.insecure,
            connect_timeout: options.connect_timeout,
            certificates,
            identity,
            certificate_dirs: options.certificate_dirs.clone(),
            made: Mutex::default(),
        })
    }

    /// The client that speaks to whom a URL names.
    pub(crate) fn client_for(&self, url: &Url) -> Result<reqwest::Client, RegistryError> {
        let way = Way {
            tls: url.scheme() == "https",
            loopback: is_loopback(url),
        };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if way.tls && !self.certificate_dirs.is_empty() {
            let host = directory_of(url);
            let own = if let Some(own) = made.of_hosts.get(&host) {
                own.clone()
            } else {
                let own = self.build_for(&host, way)?;
                made.of_hosts.insert(host, own.clone());
                own
            };
            if let Some(client) = own {
                return Ok(client);
            }
        }
        if let Some(client) = made.clients.get(&way) {
            return Ok(client.clone());
        }
        let client = self.build(way, &[], self.identity.as_ref())?;
        made.clients.insert(way, client.clone());
        Ok(client)
    }

    /// A client for a host that has certificates of its own; `None` if it has none.
    fn build_for(&self, host: &str, way: Way) -> Result<Option<reqwest::Client>, RegistryError> {
        let own = HostCertificates::read(&self.certificate_dirs, host)?;
        let build = |own: HostCertificates| {
            let identity = self.identity.as_ref().or(own.identity.as_ref());
            self.build(way, &own.authorities, identity)
        };
        own.map(build).transpose()
    }

    fn build(
        &self,
        way: Way,
        more_authorities: &[Certificate],
        identity: Option<&Identity>,
    ) -> Result<reqwest::Client, RegistryError> {
        let error = match self.try_build(way, more_authorities, identity) {
            Ok(client) => return Ok(client),
            Err(error) => error.into(),
        };
        // The HTTP client does not say what it failed for: a machine without authorities, or a key that is none.
        if identity.is_some() && self.try_build(way, more_authorities, None).is_ok() {
            return Err(RegistryError::pem(IDENTITY, Some(error)));
        }
        Err(RegistryError::Client(error))
    }

    fn try_build(
        &self,
        way: Way,
        more_authorities: &[Certificate],
        identity: Option<&Identity>,
    ) -> reqwest::Result<reqwest::Client> {
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            // Followed by hand: what a redirect may be told depends on where it goes.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false);
        if way.loopback {
            builder = builder.no_proxy();
        }
        if !way.tls {
            // No certificate is ever looked at, so none has to be there.
            return builder.tls_certs_only([]).build();
        }
        if let Some(identity) = identity {
            builder = builder.identity(identity.clone());
        }
        builder
            .tls_certs_merge(self.certificates.iter().chain(more_authorities).cloned())
            .tls_danger_accept_invalid_certs(self.insecure)
            .build()
    }
}

/// True for `localhost` and loopback addresses.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else {
        return false;
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_told_from_the_network() {
        for (url, expected) in [
            ("http://localhost:5000/", true),
            ("http://registry.localhost/", true),
            ("http://127.3.2.1/", true),
            ("https://[::1]:5000/", true),
            ("http://localhost.example/", false),
            ("http://128.0.0.1/", false),
            ("http://[::2]/", false),
        ] {
            assert_eq!(is_loopback(&url.parse().unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn what_is_no_pem_is_told_before_anything_is_sent() {
        for pem in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAA\n"] {
            let options = ClientOptions {
                ca_certificates: vec![pem.as_bytes().to_vec()],
                ..ClientOptions::default()
            };
            let error = Transports::new(&options).unwrap_err();
            assert!(matches!(error, RegistryError::Pem { .. }), "{error:?}");
            let options = ClientOptions {
                client_identity: Some(pem.as_bytes().to_vec()),
                ..ClientOptions::default()
            };
            let error = Transports::new(&options).unwrap_err();
            assert!(matches!(error, RegistryError::Pem { .. }), "{error:?}");
        }
    }
}
