//! Certificates that users keep for one registry alone.
//!
//! Sources: containers-certs.d(5); Docker's "Verify repository client with certificates". Below a directory such as
//! `/etc/docker/certs.d` each registry has a directory `HOST[:PORT]`: `*.crt` are authorities, `NAME.cert` and `NAME.key` are a client's
//! certificate and key.

use crate::RegistryError;
use reqwest::{Certificate, Identity, Url};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What a PEM file with a client's certificate holds.
pub(crate) const IDENTITY: &str = "a certificate and its private key";

/// What counts for one registry.
#[derive(Debug)]
pub(crate) struct HostCertificates {
    pub(crate) authorities: Vec<Certificate>,
    pub(crate) identity: Option<Identity>,
}

impl HostCertificates {
    /// Reads those of a host, written with its port where the URL has one, from the first of the directories that knows it.
    pub(crate) fn read(dirs: &[PathBuf], host: &str) -> Result<Option<Self>, RegistryError> {
        // The name comes from a URL, and no host begins like that.
        if host.is_empty() || host.starts_with('.') {
            return Ok(None);
        }
        let mut host_dirs = dirs.iter().map(|dir| dir.join(host));
        let Some(files) = host_dirs.find_map(|dir| sorted_files(&dir)) else {
            return Ok(None);
        };
        let mut authorities = Vec::new();
        let mut identity = None;
        for file in files {
            let extension = file.extension().and_then(OsStr::to_str);
            match extension {
                Some("crt") => authorities.extend(read_authorities(&file)?),
                Some("cert") if identity.is_none() => identity = Some(read_identity(&file)?),
                _ => {}
            }
        }
        Ok(Some(Self {
            authorities,
            identity,
        }))
    }
}

/// The name of a host's directory: the host, and the port that its URLs have. That of HTTPS is not written.
pub(crate) fn directory_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// A directory's files by name; `None` where there is no such directory, or none that this user may read, as for podman.
fn sorted_files(dir: &Path) -> Option<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).ok()?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort_unstable();
    Some(files)
}

fn read_authorities(file: &Path) -> Result<Vec<Certificate>, RegistryError> {
    let pem = read(file)?;
    authorities(&pem).map_err(|error| error.in_file(file))
}

fn read_identity(certificate: &Path) -> Result<Identity, RegistryError> {
    let key = certificate.with_extension("key");
    let pem = [read(certificate)?, read(&key)?].join(&b'\n');
    identity(&pem).map_err(|error| error.in_file(certificate))
}

/// The certificates of a PEM file, of which there must be one.
pub(crate) fn authorities(pem: &[u8]) -> Result<Vec<Certificate>, RegistryError> {
    let what = "certificates";
    match Certificate::from_pem_bundle(pem) {
        Ok(bundle) if !bundle.is_empty() => Ok(bundle),
        Ok(_) => Err(RegistryError::pem(what, None)),
        Err(error) => Err(RegistryError::pem(what, Some(error.into()))),
    }
}

/// The certificate, those that vouch for it, and the private key of a PEM file.
pub(crate) fn identity(pem: &[u8]) -> Result<Identity, RegistryError> {
    Identity::from_pem(pem).map_err(|error| RegistryError::pem(IDENTITY, Some(error.into())))
}

fn read(file: &Path) -> Result<Vec<u8>, RegistryError> {
    fs::read(file).map_err(|source: io::Error| RegistryError::CertificateFile {
        path: file.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nixply_testkit::registry::Authority;

    fn write(dir: &Path, name: &str, content: &str) {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join(name), content).unwrap();
    }

    #[test]
    fn the_first_directory_of_the_host_counts() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = [dir.path().join("user"), dir.path().join("system")];
        let (a, b) = (Authority::new(), Authority::new());
        let client = a.client();
        let system = dirs[1].join("h.example:5000");
        write(&system, "b.crt", &(b.certificate() + &a.certificate()));
        write(&system, "a.crt", &a.certificate());
        write(&system, "client.cert", &client.certificate);
        write(&system, "client.key", &client.key);
        write(&system, "README", "no certificate");
        let read = |host: &str| HostCertificates::read(&dirs, host).unwrap();
        let found = read("h.example:5000").unwrap();
        assert_eq!(found.authorities.len(), 3);
        assert!(found.identity.is_some());
        for other in [
            "h.example",
            "h.example:5001",
            "",
            ".",
            "..",
            "../system/h.example:5000",
        ] {
            assert!(read(other).is_none(), "{other}");
        }
        write(
            &dirs[0].join("h.example:5000"),
            "only.crt",
            &a.certificate(),
        );
        let found = read("h.example:5000").unwrap();
        assert_eq!(found.authorities.len(), 1);
        assert!(found.identity.is_none());
    }

    #[test]
    fn directories_have_the_names_of_hosts() {
        for (url, expected) in [
            ("https://h.example/v2/", "h.example"),
            ("https://h.example:443/v2/", "h.example"),
            ("https://h.example:5000/v2/", "h.example:5000"),
            ("https://[::1]:5000/", "[::1]:5000"),
        ] {
            assert_eq!(directory_of(&url.parse().unwrap()), expected);
        }
    }

    #[test]
    fn files_that_are_wrong_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = [dir.path().to_owned()];
        let client = Authority::new().client();
        write(&dirs[0].join("a.example"), "a.crt", "nothing");
        write(&dirs[0].join("b.example"), "b.cert", &client.certificate);
        write(&dirs[0].join("c.example"), "c.cert", &client.key);
        write(&dirs[0].join("c.example"), "c.key", &client.key);
        for (host, expected) in [
            (
                "a.example",
                "expected certificates in PEM form in `DIR/a.example/a.crt`",
            ),
            ("b.example", "cannot read `DIR/b.example/b.key`"),
            (
                "c.example",
                "expected a certificate and its private key in PEM form in `DIR/c.example/c.cert`",
            ),
        ] {
            let error = HostCertificates::read(&dirs, host).unwrap_err().to_string();
            let shown = error.replace(&dirs[0].display().to_string(), "DIR");
            assert_eq!(shown, expected);
        }
    }
}
