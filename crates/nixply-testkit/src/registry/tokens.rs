//! A token service after distribution's `docs/spec/auth/token.md` and `oauth.md`, whose tokens distribution 2.8 and 3
//! take.

use super::http::{Answer, Request};
use super::serve::{self, Server};
use super::{TEST_PASSWORD, TEST_USER};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use rcgen::{CertificateParams, KeyPair};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The refresh token, also called identity token, that the server takes in place of [`TEST_USER`]'s password.
pub const TEST_REFRESH_TOKEN: &str = "identity-of-aladdin";

/// Registries take a token for this long after it has ended (`Leeway` in distribution's `registry/auth/token`). The
/// server dates its tokens back by it, so that a token that lives two seconds lives two seconds.
const LEEWAY: Duration = Duration::from_mins(1);

/// How the server answers.
#[derive(Debug, Clone)]
pub struct TokenRules {
    /// How long the registry takes a token.
    pub lifetime: Duration,
    /// Whether answers say how long, in `expires_in`. Without it, a client has to take it for 60 s.
    pub tells_lifetime: bool,
    /// Repositories for which nobody gets a token. As the specification wants it, the answer is a token without them.
    pub refused_repositories: BTreeSet<String>,
}

impl Default for TokenRules {
    /// Five minutes, told; nothing is refused.
    fn default() -> Self {
        Self {
            lifetime: Duration::from_mins(5),
            tells_lifetime: true,
            refused_repositories: BTreeSet::new(),
        }
    }
}

/// A question for a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// `GET` or `POST`.
    pub method: String,
    /// Who asked, by their secret; `None` for somebody who named none.
    pub user: Option<String>,
    /// The service that the token is for.
    pub service: Option<String>,
    /// What for: each is `repository:NAME:ACTION,ACTION`.
    pub scopes: Vec<String>,
    /// The status of the answer: 200, or 401 for a wrong secret.
    pub status: u16,
}

/// A token service on a free loopback port. Users are [`TEST_USER`] with [`TEST_PASSWORD`], who may do everything, and
/// anybody without a secret, who may pull.
#[derive(Debug)]
pub struct TokenServer {
    server: Server,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    key: EcdsaKeyPair,
    certificate_pem: String,
    certificate_der: Vec<u8>,
    issued: AtomicU64,
    rules: Mutex<TokenRules>,
    requests: Mutex<Vec<TokenRequest>>,
}

impl TokenServer {
    /// What the registry calls itself.
    pub(super) const SERVICE: &str = "the test's registry";

    /// What the server calls itself.
    pub(super) const ISSUER: &str = "the test's token server";

    /// Starts a server.
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "a test without its server has to stop"
    )]
    pub fn start(rules: TokenRules) -> Self {
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = CertificateParams::default()
            .self_signed(&key)
            .expect("a key can sign itself");
        let key = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &key.serialize_der(),
            &SystemRandom::new(),
        );
        let shared = Arc::new(Shared {
            key: key.expect("rcgen's default keys are of P-256"),
            certificate_pem: certificate.pem(),
            certificate_der: certificate.der().to_vec(),
            issued: AtomicU64::new(0),
            rules: Mutex::new(rules),
            requests: Mutex::default(),
        });
        let for_connections = Arc::clone(&shared);
        let server = Server::start(move |stream| {
            serve::answer_all(&stream, |request| for_connections.answer(&request))
        });
        Self { server, shared }
    }

    /// The URL to ask.
    #[must_use]
    pub fn realm(&self) -> String {
        format!("http://{}/token", self.server.host())
    }

    /// The certificate that its tokens are signed with, as PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.shared.certificate_pem
    }

    /// Changes the rules for the next question on.
    pub fn set_rules(&self, rules: TokenRules) {
        *lock(&self.shared.rules) = rules;
    }

    /// Every question so far, in the order received.
    #[must_use]
    pub fn requests(&self) -> Vec<TokenRequest> {
        lock(&self.shared.requests).clone()
    }

    /// Forgets the questions so far.
    pub fn forget_requests(&self) {
        lock(&self.shared.requests).clear();
    }
}

/// What a request says about who asks.
enum Asker {
    Nobody,
    Known,
    Wrong,
}

impl Shared {
    fn answer(&self, request: &Request) -> Answer {
        if request.path != "/token" {
            return Answer::status(404);
        }
        let form = String::from_utf8_lossy(&request.body).into_owned();
        let is_get = request.method == "GET";
        let values = |name: &str| form_values(if is_get { &request.query } else { &form }, name);
        let asker = if is_get {
            asker_of_header(request.header("authorization"))
        } else {
            let first = |name: &str| values(name).into_iter().next().unwrap_or_default();
            let right = first("grant_type") == "refresh_token"
                && first("refresh_token") == TEST_REFRESH_TOKEN;
            if right { Asker::Known } else { Asker::Wrong }
        };
        // A POST has one parameter with all scopes (oauth.md), a GET one for each (token.md); some clients mix them up.
        let scopes: Vec<String> = values("scope")
            .iter()
            .flat_map(|scopes| scopes.split(' '))
            .map(str::to_owned)
            .collect();
        let is_wrong = matches!(asker, Asker::Wrong);
        let question = TokenRequest {
            method: request.method.clone(),
            user: matches!(asker, Asker::Known).then(|| TEST_USER.to_owned()),
            service: values("service").into_iter().next(),
            scopes,
            status: if is_wrong { 401 } else { 200 },
        };
        lock(&self.requests).push(question.clone());
        if is_wrong {
            return Answer::refusal(401, "UNAUTHORIZED", "wrong user, password or token");
        }
        let rules = lock(&self.rules).clone();
        let token = self.token(&question, &rules);
        let mut body = json!({ "access_token": token });
        if is_get {
            body["token"] = json!(token);
        }
        if rules.tells_lifetime {
            body["expires_in"] = json!(rules.lifetime.as_secs());
        }
        Answer::status(200).with_body(body.to_string())
    }

    fn token(&self, question: &TokenRequest, rules: &TokenRules) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let may_push = question.user.is_some();
        let access: Vec<Value> = question
            .scopes
            .iter()
            .filter_map(|scope| granted(scope, may_push, rules))
            .collect();
        let header = json!({
            "typ": "JWT",
            "alg": "ES256",
            "x5c": [BASE64.encode(&self.certificate_der)],
        });
        let claims = json!({
            "iss": TokenServer::ISSUER,
            "aud": TokenServer::SERVICE,
            "sub": question.user.clone().unwrap_or_default(),
            "iat": now.as_secs(),
            "nbf": now.saturating_sub(LEEWAY).as_secs(),
            "exp": (now + rules.lifetime).saturating_sub(LEEWAY).as_secs(),
            "jti": self.issued.fetch_add(1, Ordering::SeqCst).to_string(),
            "access": access,
        });
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(&header), part(&claims));
        format!(
            "{signed}.{}",
            BASE64URL_NOPAD.encode(&self.signature(signed.as_bytes()))
        )
    }

    #[expect(clippy::expect_used, reason = "a test without its token has to stop")]
    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.key.sign(&SystemRandom::new(), message);
        signature
            .expect("randomness does not end")
            .as_ref()
            .to_vec()
    }
}

fn asker_of_header(authorization: Option<&str>) -> Asker {
    let right = format!("{TEST_USER}:{TEST_PASSWORD}");
    match authorization {
        None => Asker::Nobody,
        Some(header) if header == format!("Basic {}", BASE64.encode(right.as_bytes())) => {
            Asker::Known
        }
        Some(_) => Asker::Wrong,
    }
}

/// The entry of a token for a scope; nothing if none of it is granted.
fn granted(scope: &str, may_push: bool, rules: &TokenRules) -> Option<Value> {
    // The name may have a colon itself, with a host in it.
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    let actions: Vec<&str> = actions
        .split(',')
        .filter(|action| may_push || *action == "pull")
        .collect();
    let is_granted = !actions.is_empty() && !rules.refused_repositories.contains(name);
    is_granted.then(|| json!({ "type": kind, "name": name, "actions": actions }))
}

/// The values of a parameter of a form or query, decoded.
fn form_values(form: &str, name: &str) -> Vec<String> {
    form.split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(key, _)| decoded(key) == name)
        .map(|(_, value)| decoded(value))
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                let digits = String::from_utf8_lossy(&digits).into_owned();
                u8::from_str_radix(&digits, 16).unwrap_or(b'%')
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
