//! How registries are reached: certificates, times, retries.

use crate::environment;
use crate::error::{CliError, ExitStatus};
use crate::request_log::RequestLog;
use nixply_registry::{ClientOptions, RequestObserver};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How registries are reached.
#[derive(Debug, Default, Clone, clap::Args)]
#[command(next_help_heading = "Registry options")]
pub(crate) struct NetworkOptions {
    /// Trust the certificate authorities of this PEM file, too (can be repeated)
    #[arg(long = "ca-cert", value_name = "FILE")]
    ca_certs: Vec<PathBuf>,
    /// Show this certificate to registries that want one: a PEM file
    #[arg(long, value_name = "FILE")]
    client_cert: Option<PathBuf>,
    /// The private key of --client-cert, where that file does not hold it
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// Allow plain HTTP and unverified certificates for registries
    #[arg(long)]
    insecure: bool,
    /// How long a connection may take to open [default: 15s]
    #[arg(long, value_name = "TIME", value_parser = time)]
    connect_timeout: Option<Duration>,
    /// How long an answer may take to begin [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = time)]
    answer_timeout: Option<Duration>,
    /// How long nothing may move while something is sent or received [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = time)]
    stall_timeout: Option<Duration>,
    /// How often a request that failed is tried again [default: 6]
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// Show every request on standard error
    #[arg(short, long)]
    verbose: bool,
}

impl NetworkOptions {
    /// Those of a derivation, which has no command line.
    pub(crate) fn in_builder(insecure: bool, ca_certificates: Option<PathBuf>) -> Self {
        Self {
            insecure,
            ca_certs: ca_certificates.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Reads the certificates.
    pub(crate) fn client_options(&self) -> Result<ClientOptions, CliError> {
        let defaults = ClientOptions::default();
        let ca_certificates = self.ca_certs.iter().map(|file| read(file));
        Ok(ClientOptions {
            insecure: self.insecure,
            ca_certificates: ca_certificates.collect::<Result<_, _>>()?,
            client_identity: self.client_identity()?,
            certificate_dirs: environment::certificate_dirs(),
            connect_timeout: self.connect_timeout.unwrap_or(defaults.connect_timeout),
            first_byte_timeout: self.answer_timeout.unwrap_or(defaults.first_byte_timeout),
            stall_timeout: self.stall_timeout.unwrap_or(defaults.stall_timeout),
            retries_per_request: self.retries.unwrap_or(defaults.retries_per_request),
            // Whoever asks for retries by name expects the registry to come back, or not to be there yet.
            first_contact_retries: self.retries.unwrap_or(defaults.first_contact_retries),
            observer: self.observer(),
            ..defaults
        })
    }

    fn observer(&self) -> Option<Arc<dyn RequestObserver>> {
        self.verbose.then_some(Arc::new(RequestLog))
    }

    /// The certificate and its key as one text, in whichever of both files they stand.
    fn client_identity(&self) -> Result<Option<Vec<u8>>, CliError> {
        let Some(certificate) = &self.client_cert else {
            return Ok(None);
        };
        let mut identity = read(certificate)?;
        if let Some(key) = &self.client_key {
            identity.push(b'\n');
            identity.extend(read(key)?);
        }
        Ok(Some(identity))
    }
}

fn read(file: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(file).map_err(|error| {
        let message = format!("cannot read `{}`", file.display());
        CliError::context(ExitStatus::Failed, message, &error)
    })
}

/// The longest time that an option may name: longer than any answer takes, and short enough to be added to a clock.
const TIME_MAX: Duration = Duration::from_hours(24);

/// A time with an optional unit; without one it is in seconds.
fn time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let duration = digits
        .parse::<u64>()
        .ok()
        .and_then(|number| match &text[digits.len()..] {
            "" | "s" => Some(Duration::from_secs(number)),
            "ms" => Some(Duration::from_millis(number)),
            "m" => number.checked_mul(60).map(Duration::from_secs),
            _ => None,
        });
    duration
        .filter(|duration| !duration.is_zero() && *duration <= TIME_MAX)
        .ok_or_else(|| {
            "expected a number above 0 with `ms`, `s` or `m`, for example 30s; a day at most"
                .to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args as _, Command};

    #[test]
    fn times_have_units() {
        for (text, milliseconds) in [
            ("30", 30_000),
            ("30s", 30_000),
            ("250ms", 250),
            ("2m", 120_000),
            ("1440m", 86_400_000),
        ] {
            assert_eq!(
                time(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for text in [
            "",
            "0",
            "0ms",
            "s",
            "1h",
            "-1",
            "1.5s",
            "1 s",
            "99999999999999999999",
            "18446744073709551615s",
            "1441m",
        ] {
            assert!(time(text).is_err(), "{text}");
        }
        assert!(time("18446744073709551615m").is_err());
    }

    #[test]
    fn the_help_names_the_defaults_of_the_client() {
        let defaults = ClientOptions::default();
        let help = NetworkOptions::augment_args(Command::new("x"))
            .render_help()
            .to_string();
        let of = |option: &str| {
            let (_, rest) = help.split_once(&format!("--{option} ")).unwrap();
            let (_, rest) = rest.split_once("[default: ").unwrap();
            rest.split(']').next().unwrap().to_owned()
        };
        assert_eq!(time(&of("connect-timeout")), Ok(defaults.connect_timeout));
        assert_eq!(time(&of("answer-timeout")), Ok(defaults.first_byte_timeout));
        assert_eq!(time(&of("stall-timeout")), Ok(defaults.stall_timeout));
        assert_eq!(of("retries"), defaults.retries_per_request.to_string());
    }
}
