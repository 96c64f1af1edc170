//! No secret stands in anything that a command says, whatever a registry, a token service, a helper or a file does.

use crate::support::Sandbox;
use nixply_testkit::registry::{Answer, RecordingRegistry, Request};
use std::io::Write as _;
use std::process::{Output, Stdio};
use std::thread;

const USER: &str = "ann";
const PASSWORD: &str = "pa55-w0rd";
/// base-64 of `ann:pa55-w0rd`, of `pa55-w0rd`, and of `<token>:1dentity`, without what padding and what stands before decide.
const ENCODED: [&str; 3] = [
    "YW5uOnBhNTUtdzByZA",
    "cGE1NS13MHJk",
    "PHRva2VuPjoxZGVudGl0eQ",
];
const IDENTITY_TOKEN: &str = "1dentity";
const REGISTRY_TOKEN: &str = "reg1stry";
/// What token services give.
const BEARER_TOKEN: &str = "b3arer";
/// What signs an upload's location.
const SIGNATURE: &str = "s1gnature";
/// What a helper and a file have beside what is asked for.
const OTHER: &str = "0ther";

/// What a registry does with who it thinks it knows. Hostile ones say back what they were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Registry {
    /// Wants a password, and refuses it with this status.
    Basic(u16),
    /// Wants a token; its service refuses with this status.
    NoToken(u16),
    /// Wants a token, whose service answers with nonsense.
    OddToken,
    /// Wants a token, and refuses it with this status.
    Token(u16),
    /// Takes the password, and refuses uploads behind a location with a signature.
    RefusesUploads,
    /// Takes the password, and works.
    Serves,
    /// Takes a token, and works.
    ServesForToken,
}

const REGISTRIES: [Registry; 11] = [
    Registry::Basic(401),
    Registry::Basic(403),
    Registry::Basic(500),
    Registry::NoToken(401),
    Registry::NoToken(500),
    Registry::OddToken,
    Registry::Token(401),
    Registry::Token(404),
    Registry::RefusesUploads,
    Registry::Serves,
    Registry::ServesForToken,
];

impl Registry {
    fn start(self) -> RecordingRegistry {
        RecordingRegistry::start_with(move |request| self.answer(request))
    }

    fn answer(self, request: &Request) -> Option<Answer> {
        let host = request.header("host").unwrap_or_default();
        let bearer = format!(r#"Bearer realm="http://{host}/token?{SIGNATURE}=1",service="test""#);
        let wants_token = matches!(
            self,
            Self::NoToken(_) | Self::OddToken | Self::Token(_) | Self::ServesForToken
        );
        if request.path == "/token" {
            return Some(match self {
                Self::NoToken(status) => echo(request, status),
                Self::OddToken => Answer::status(200).with_body(told(request)),
                _ => Answer::status(200).with_body(format!(
                    r#"{{"token": "{BEARER_TOKEN}", "refresh_token": "{OTHER}", "expires_in": 300}}"#
                )),
            });
        }
        if request.header("authorization").is_none() {
            let wanted = if wants_token {
                bearer
            } else {
                "Basic realm=\"test\"".to_owned()
            };
            return Some(echo(request, 401).with_header("WWW-Authenticate", &wanted));
        }
        match self {
            Self::Basic(status) | Self::Token(status) => {
                let again = if wants_token {
                    bearer
                } else {
                    "Basic realm=\"test\"".to_owned()
                };
                Some(echo(request, status).with_header("WWW-Authenticate", &again))
            }
            Self::RefusesUploads if request.method == "POST" => {
                // A refusal whose URL carries a signature.
                let location = format!("/v2/uploads/1?signature={SIGNATURE}");
                Some(Answer::status(202).with_header("Location", &location))
            }
            Self::RefusesUploads if request.path.starts_with("/v2/uploads/") => {
                Some(echo(request, 400))
            }
            _ => None,
        }
    }
}

/// All that a request said about who asks, also decoded.
fn told(request: &Request) -> String {
    let header = request.header("authorization").unwrap_or_default();
    let mut text = format!("you sent {header}");
    if header.contains(ENCODED[0]) {
        text += PASSWORD;
    }
    if header.contains(ENCODED[2]) {
        text += IDENTITY_TOKEN;
    }
    if request.path == "/token" {
        text += &String::from_utf8_lossy(&request.body);
    }
    text
}

fn echo(request: &Request, status: u16) -> Answer {
    Answer::refusal(status, "DENIED", &told(request))
}

/// How credentials reach the command.
struct Given {
    name: &'static str,
    arguments: &'static [&'static str],
    input: &'static str,
    variables: Vec<(&'static str, String)>,
}

/// Every way; files and helpers are in the sandbox's `docker-…` directories.
fn ways(sandbox: &Sandbox, host: &str) -> Vec<Given> {
    let of_file = |name: &'static str, config: String| {
        let dir = format!("docker-{name}");
        std::fs::create_dir_all(sandbox.path(&dir)).unwrap();
        sandbox.write(&format!("{dir}/config.json"), &config);
        Given {
            name,
            arguments: &[],
            input: "",
            variables: vec![("DOCKER_CONFIG", sandbox.path(&dir).display().to_string())],
        }
    };
    let entry = |name, entry: &str| {
        of_file(
            name,
            format!(
                r#"{{"auths": {{"{host}": {entry}, "other.example": {{"auth": "{OTHER}"}}}}}}"#
            ),
        )
    };
    let helper = |name: &'static str, script: &str| {
        sandbox.helper(name, script);
        of_file(name, format!(r#"{{"credsStore": "{name}"}}"#))
    };
    vec![
        Given {
            name: "flags",
            arguments: &["--username", USER, "--password-stdin"],
            input: PASSWORD,
            variables: Vec::new(),
        },
        Given {
            name: "variables",
            arguments: &[],
            input: "",
            variables: vec![
                ("REGISTRY_USERNAME", USER.to_owned()),
                ("REGISTRY_PASSWORD", PASSWORD.to_owned()),
            ],
        },
        entry("auth", &format!(r#"{{"auth": "{}"}}"#, ENCODED[0])),
        entry(
            "identity",
            &format!(r#"{{"identitytoken": "{IDENTITY_TOKEN}"}}"#),
        ),
        entry(
            "registry",
            &format!(r#"{{"registrytoken": "{REGISTRY_TOKEN}"}}"#),
        ),
        entry("bad-auth", &format!(r#"{{"auth": "{}"}}"#, ENCODED[1])),
        entry("bad-type", &format!(r#"["{PASSWORD}"]"#)),
        of_file(
            "bad-json",
            format!(r#"{{"auths": {{"{host}": {{"auth": "{}"#, ENCODED[0]),
        ),
        helper(
            "good",
            &format!(
                r#"echo '{{"Username": "{USER}", "Secret": "{PASSWORD}", "Other": "{OTHER}"}}'"#
            ),
        ),
        helper(
            "token",
            &format!(r#"echo '{{"Username": "<token>", "Secret": "{IDENTITY_TOKEN}"}}'"#),
        ),
        helper(
            "fails",
            &format!(r#"printf '{{"Secret":\n"{PASSWORD}"}}\n'; echo >&2 '{OTHER} {{'; exit 1"#),
        ),
        helper("odd", &format!("echo '{PASSWORD}'; echo >&2 '{OTHER}'")),
    ]
}

#[test]
fn no_output_holds_a_secret() {
    // One at a time, they take a minute.
    thread::scope(|scope| {
        for kind in REGISTRIES {
            scope.spawn(move || against(kind));
        }
    });
}

fn against(kind: Registry) {
    let sandbox = Sandbox::new();
    let registry = kind.start();
    let host = registry.host();
    let login = "login HOST -u ann --password-stdin --authfile kept.json -v".replace("HOST", &host);
    let login: Vec<String> = login.split(' ').map(str::to_owned).collect();
    let by_hand = Given {
        name: "standard input",
        arguments: &[],
        input: PASSWORD,
        variables: Vec::new(),
    };
    let mut successes = 0;
    let mut check_run = |arguments: &[String], given: &Given| {
        let output = run(&sandbox, arguments, given);
        check(&output, &format!("{kind:?}, {}: {arguments:?}", given.name));
        successes += usize::from(output.status.success());
    };
    for given in ways(&sandbox, &host) {
        for arguments in commands(&host) {
            check_run(&arguments, &given);
        }
    }
    check_run(&login, &by_hand);
    let was_told = registry.requests().iter().any(|request| {
        let has_header = request.header("authorization").is_some();
        has_header || String::from_utf8_lossy(&request.body).contains(IDENTITY_TOKEN)
    });
    assert!(was_told, "{kind:?} heard nothing that it could tell");
    let serves = matches!(kind, Registry::Serves | Registry::ServesForToken);
    assert_eq!(successes > 20, serves, "{kind:?}: {successes} successes");
}

fn commands(host: &str) -> Vec<Vec<String>> {
    let image = format!("docker://{host}/a:v1");
    let target = format!("{host}/a:v1");
    let words = |words: &[&str]| words.iter().copied().map(str::to_owned).collect();
    vec![
        words(&[
            "push",
            "closure.json",
            &target,
            "--physical-store",
            "store",
            "-v",
        ]),
        words(&[
            "push",
            "closure.json",
            &target,
            "--physical-store",
            "store",
            "--json",
        ]),
        words(&["inspect", &image, "--json"]),
        words(&["diff", &image, "closure.json"]),
        words(&["plan", "closure.json", "--prior", &image]),
    ]
}

fn run(sandbox: &Sandbox, arguments: &[String], given: &Given) -> Output {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let arguments = [&arguments, given.arguments, &["--retries", "0"]].concat();
    let mut child = sandbox
        .command(&arguments)
        .env("PATH", sandbox.path("bin"))
        .envs(given.variables.iter().cloned())
        .envs([("RUST_BACKTRACE", "full"), ("RUST_LOG", "trace")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that is refused its options reads nothing.
    let _ = child
        .stdin
        .take()
        .unwrap()
        .write_all(given.input.as_bytes());
    child.wait_with_output().unwrap()
}

fn check(output: &Output, what: &str) {
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let said = String::from_utf8_lossy(&said);
    let code = output.status.code();
    assert!(
        matches!(code, Some(0 | 1 | 3 | 4)),
        "{what}: {code:?}\n{said}"
    );
    let plain = [
        PASSWORD,
        IDENTITY_TOKEN,
        REGISTRY_TOKEN,
        BEARER_TOKEN,
        SIGNATURE,
        OTHER,
    ];
    for secret in plain.iter().chain(&ENCODED) {
        assert!(!said.contains(secret), "{what} shows `{secret}`:\n{said}");
    }
}
