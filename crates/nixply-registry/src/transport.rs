//! The HTTP clients beneath: who is reached by TLS, with which certificates, and through a proxy or not.
//!
//! There are at most four, made when first needed: certificates are read only for somebody who speaks TLS, so plain HTTP
//! works on a machine that has none. All speak HTTP/1.1 and keep connections open.

use crate::{ClientOptions, RegistryError};
use reqwest::{Certificate, Identity, Url};
use std::collections::BTreeMap;
use std::net::IpAddr;
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
    clients: Mutex<BTreeMap<Way, reqwest::Client>>,
}

impl Transports {
    /// Reads what the options say about TLS; opens nothing.
    pub(crate) fn new(options: &ClientOptions) -> Result<Self, RegistryError> {
        // Another provider may be installed already by the program that uses this crate; that one then serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut certificates = Vec::new();
        for pem in &options.ca_certificates {
            let what = "certificates";
            let bundle = Certificate::from_pem_bundle(pem).map_err(|error| RegistryError::Pem {
                what,
                source: Some(error.into()),
            })?;
            if bundle.is_empty() {
                return Err(RegistryError::Pem { what, source: None });
            }
            certificates.extend(bundle);
        }
        let identity = options.client_identity.as_deref().map(Identity::from_pem);
        let identity = identity.transpose().map_err(|error| RegistryError::Pem {
            what: "a certificate and its private key",
            source: Some(error.into()),
        })?;
        Ok(Self {
            insecure: options.insecure,
            connect_timeout: options.connect_timeout,
            certificates,
            identity,
            clients: Mutex::default(),
        })
    }

    /// The client that speaks to whom a URL names.
    pub(crate) fn client_for(&self, url: &Url) -> Result<reqwest::Client, RegistryError> {
        let way = Way {
            tls: url.scheme() == "https",
            loopback: is_loopback(url),
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&way) {
            return Ok(client.clone());
        }
        let client = self
            .build(way)
            .map_err(|error| RegistryError::Client(error.into()))?;
        clients.insert(way, client.clone());
        Ok(client)
    }

    fn build(&self, way: Way) -> reqwest::Result<reqwest::Client> {
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
        if let Some(identity) = &self.identity {
            builder = builder.identity(identity.clone());
        }
        builder
            .tls_certs_merge(self.certificates.iter().cloned())
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
