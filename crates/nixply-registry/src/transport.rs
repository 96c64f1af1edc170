//! How a registry is reached: plain HTTP or HTTPS, with which checks, through a proxy or not.

use crate::connection::request;
use crate::{RegistryError, Subject};
use oci_client::Client;
use oci_client::client::{ClientConfig, ClientProtocol};
use reqwest::Url;
use std::time::Duration;

/// What registries see as the client.
const USER_AGENT: &str = concat!("nixply/", env!("CARGO_PKG_VERSION"));

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection that `insecure` tries HTTPS on may stay silent once it is open. The answer to `GET /v2/` takes
/// one round trip and no storage; a server that accepts and says nothing must not hold a push for ever.
const PROBE_ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a registry may take to answer an upload whose body has gone out. It hashes and moves the blob meanwhile, in
/// some storages by copying all of it, which takes minutes for the largest layers.
pub(crate) const UPLOAD_ANSWER_TIMEOUT: Duration = Duration::from_mins(5);

/// How long the answer to a question may take. For uploads there is [`UPLOAD_ANSWER_TIMEOUT`]: the client counts
/// the sending, too.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_mins(2);

/// How the bytes go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transport {
    plain: bool,
    loopback: bool,
    verify: bool,
}

impl Transport {
    /// Decides between HTTPS and plain HTTP. Only with `insecure` does that take a request.
    pub(crate) async fn choose(
        host: &str,
        loopback: bool,
        insecure: bool,
    ) -> Result<Self, RegistryError> {
        let https = Self {
            plain: false,
            loopback,
            verify: !insecure,
        };
        let http = Self {
            plain: true,
            loopback,
            verify: true,
        };
        if !insecure {
            return Ok(if loopback { http } else { https });
        }
        let url = https.base_url(host, "v2/")?;
        let probe = https
            .http_client()?
            .get(url.clone())
            .timeout(CONNECT_TIMEOUT + PROBE_ANSWER_TIMEOUT);
        match probe.send().await {
            Err(error) if error.is_connect() => Ok(http),
            Ok(_) => Ok(https),
            Err(error) => {
                let subject = Subject::Registry {
                    host: host.to_owned(),
                };
                Err(request(&subject, "GET", &url).http(error))
            }
        }
    }

    /// The URL of a path on the host.
    pub(crate) fn base_url(self, host: &str, path: &str) -> Result<Url, RegistryError> {
        let scheme = if self.plain { "http" } else { "https" };
        Url::parse(&format!("{scheme}://{host}/{path}"))
            .map_err(|error| RegistryError::Client(error.into()))
    }

    /// A client for this crate's own requests.
    pub(crate) fn http_client(self) -> Result<reqwest::Client, RegistryError> {
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .danger_accept_invalid_certs(!self.verify);
        if self.loopback {
            builder = builder.no_proxy();
        }
        builder
            .build()
            .map_err(|error| RegistryError::Client(error.into()))
    }

    /// A client for everything else.
    pub(crate) fn oci_client(self) -> Result<Client, RegistryError> {
        let mut config = ClientConfig {
            protocol: if self.plain {
                ClientProtocol::Http
            } else {
                ClientProtocol::Https
            },
            accept_invalid_certificates: !self.verify,
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(ANSWER_TIMEOUT),
            user_agent: USER_AGENT,
            ..ClientConfig::default()
        };
        if self.loopback {
            // oci-client cannot turn proxies off. A proxy that is set, and exempted from everything, keeps it
            // from looking for one in the environment; loopback is never reached through a proxy.
            config.http_proxy = Some("http://127.0.0.1:1".to_owned());
            config.no_proxy = Some("*,0.0.0.0/0,::/0".to_owned());
        }
        Client::try_from(config).map_err(|error| RegistryError::Client(error.into()))
    }
}
