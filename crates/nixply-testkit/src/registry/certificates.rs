//! A certificate authority of a test's own.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// The names that [`Authority::server`] writes into certificates.
const SERVER_NAMES: [&str; 3] = ["127.0.0.1", "::1", "localhost"];

/// An authority that no system trusts.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, both as PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The private key, as PKCS #8.
    pub key: String,
}

impl Authority {
    /// Makes an authority with a fresh key.
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "a test without its certificates has to stop"
    )]
    pub fn new() -> Self {
        let mut params = params("a test's authority", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key can be made");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a key can sign itself");
        Self { issuer }
    }

    /// The authority's own certificate as PEM: what a client has to trust.
    #[must_use]
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for a server on the loopback interface, by address and as `localhost`.
    #[must_use]
    pub fn server(&self) -> Identity {
        self.issue(
            "a test's server",
            &SERVER_NAMES,
            ExtendedKeyUsagePurpose::ServerAuth,
        )
    }

    /// A certificate for a client.
    #[must_use]
    pub fn client(&self) -> Identity {
        self.issue("a test's client", &[], ExtendedKeyUsagePurpose::ClientAuth)
    }

    #[expect(
        clippy::expect_used,
        reason = "a test without its certificates has to stop"
    )]
    fn issue(&self, name: &str, hosts: &[&str], purpose: ExtendedKeyUsagePurpose) -> Identity {
        let mut params = params(name, hosts);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("the authority can sign");
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Identity {
    /// Certificate and key in one PEM, as clients take them.
    #[must_use]
    pub fn pem(&self) -> String {
        format!("{}{}", self.certificate, self.key)
    }
}

#[expect(clippy::expect_used, reason = "the names are constants that are valid")]
fn params(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().copied().map(str::to_owned).collect();
    let mut params = CertificateParams::new(hosts).expect("a name for a certificate");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
