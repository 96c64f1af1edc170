//! Where credentials come from, and to whom they go.

use crate::support::Sandbox;
use nixply_testkit::registry::{
    Answer, RecordingRegistry, RegistryKind, RegistryProcess, RegistrySetup, Request,
    TEST_PASSWORD, TEST_REFRESH_TOKEN, TEST_USER, TokenRules, TokenServer,
};
use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

/// `WRONG:WRONG`, which no registry here takes.
const WRONG: &str = r#"{"auth": "V1JPTkc6V1JPTkc="}"#;

fn right() -> String {
    format!(r#"{{"username": "{TEST_USER}", "password": "{TEST_PASSWORD}"}}"#)
}

fn auths(host: &str, entry: &str) -> String {
    format!(r#"{{"auths": {{"{host}": {entry}}}}}"#)
}

/// A registry that wants a password and holds `team/app:v1`.
fn registry_with_image(sandbox: &Sandbox) -> Option<RegistryProcess> {
    let registry = RegistryProcess::start_with_user()?;
    let reference = format!("{}/team/app:v1", registry.host());
    let push = [
        "push",
        "closure.json",
        &reference,
        "--physical-store",
        "store",
        "-q",
    ];
    let output = sandbox
        .command(&push)
        .env("REGISTRY_USERNAME", TEST_USER)
        .env("REGISTRY_PASSWORD", TEST_PASSWORD)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    Some(registry)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads the image's manifest. `home` holds what `files` name, as for a user without any variable.
struct Reader<'a> {
    sandbox: &'a Sandbox,
    image: String,
}

impl Reader<'_> {
    fn command(&self, more: &[&str]) -> Command {
        let arguments = [&["inspect", &self.image][..], more].concat();
        self.sandbox.command(&arguments)
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.sandbox.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// What a run with these variables ends with.
    fn code(&self, variables: &[(&str, &str)]) -> (Option<i32>, String) {
        let output = self
            .command(&[])
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        (output.status.code(), text(&output.stderr))
    }
}

fn with_input(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn every_source_is_asked_in_its_order() {
    let sandbox = Sandbox::new();
    let Some(registry) = registry_with_image(&sandbox) else {
        return;
    };
    let host = registry.host();
    let reader = Reader {
        sandbox: &sandbox,
        image: format!("docker://{host}/team/app:v1"),
    };
    let at = |name: &str| sandbox.path(name).display().to_string();
    let (home, docker, config, runtime) = (at("home"), at("docker"), at("config"), at("runtime"));
    let named = at("named.json");
    // From the last source to the first: each in turn has the right password, all behind it a wrong one.
    let sources: [(&str, Vec<(&str, &str)>); 7] = [
        ("home/.dockercfg", vec![("HOME", &home)]),
        ("home/.docker/config.json", vec![("HOME", &home)]),
        ("docker/config.json", vec![("DOCKER_CONFIG", &docker)]),
        ("home/.config/containers/auth.json", vec![("HOME", &home)]),
        (
            "config/containers/auth.json",
            vec![("XDG_CONFIG_HOME", &config)],
        ),
        (
            "runtime/containers/auth.json",
            vec![("XDG_RUNTIME_DIR", &runtime)],
        ),
        ("named.json", vec![("REGISTRY_AUTH_FILE", &named)]),
    ];
    let mut variables = Vec::new();
    let content = |name: &str, entry: &str| {
        if name.ends_with(".dockercfg") {
            format!(r#"{{"{host}": {entry}}}"#)
        } else {
            auths(host, entry)
        }
    };
    assert_eq!(reader.code(&variables).0, Some(4));
    for (name, more) in sources {
        variables.extend(more);
        reader.write(name, &content(name, &right()));
        assert_eq!(reader.code(&variables), (Some(0), String::new()), "{name}");
        reader.write(name, &content(name, WRONG));
        let (code, stderr) = reader.code(&variables);
        assert_eq!(code, Some(4), "{name}: {stderr}");
    }
    let run = |more: &[&str], variables: &[(&str, &str)], input: &str| {
        let mut command = reader.command(more);
        with_input(command.envs(variables.iter().copied()), input)
            .status
            .code()
    };
    reader.write("right.json", &auths(host, &right()));
    assert_eq!(run(&["--authfile", "right.json"], &variables, ""), Some(0));
    let user = [
        ("REGISTRY_USERNAME", TEST_USER),
        ("REGISTRY_PASSWORD", TEST_PASSWORD),
    ];
    assert_eq!(run(&["--authfile", "named.json"], &user, ""), Some(0));
    variables.extend([
        ("REGISTRY_USERNAME", "WRONG"),
        ("REGISTRY_PASSWORD", "WRONG"),
    ]);
    assert_eq!(run(&["--authfile", "right.json"], &variables, ""), Some(4));
    let flags = ["--username", TEST_USER, "--password-stdin"];
    for line_end in ["", "\n", "\r\n"] {
        let input = format!("{TEST_PASSWORD}{line_end}");
        assert_eq!(run(&flags, &variables, &input), Some(0), "{line_end:?}");
    }
    assert_eq!(run(&flags, &variables, "WRONG"), Some(4));
    assert_eq!(run(&flags, &variables, "\n"), Some(2));
}

#[test]
fn a_file_that_was_named_is_the_only_one_and_must_exist() {
    let sandbox = Sandbox::new();
    let Some(registry) = registry_with_image(&sandbox) else {
        return;
    };
    let reader = Reader {
        sandbox: &sandbox,
        image: format!("docker://{}/team/app:v1", registry.host()),
    };
    let docker = sandbox.path("docker").display().to_string();
    reader.write("docker/config.json", &auths(registry.host(), &right()));
    assert_eq!(reader.code(&[("DOCKER_CONFIG", &docker)]).0, Some(0));
    reader.write("empty.json", "{}");
    let (code, stderr) = reader.code(&[
        ("DOCKER_CONFIG", &docker),
        ("REGISTRY_AUTH_FILE", "empty.json"),
    ]);
    assert_eq!(code, Some(4), "{stderr}");
    let (code, stderr) = reader.code(&[("REGISTRY_AUTH_FILE", "absent.json")]);
    assert_eq!(code, Some(1));
    assert!(
        stderr.starts_with("error: cannot read `absent.json`\n"),
        "{stderr}"
    );
}

#[test]
fn a_helper_is_asked_and_one_that_fails_is_named() {
    let sandbox = Sandbox::new();
    let Some(registry) = registry_with_image(&sandbox) else {
        return;
    };
    let host = registry.host();
    let reader = Reader {
        sandbox: &sandbox,
        image: format!("docker://{host}/team/app:v1"),
    };
    let at = |name: &str| sandbox.path(name).display().to_string();
    let (docker, home, bin) = (at("docker"), at("home"), at("bin"));
    let variables = [
        ("DOCKER_CONFIG", docker.as_str()),
        ("HOME", home.as_str()),
        ("PATH", bin.as_str()),
    ];
    let knows = format!(
        r#"read -r host; test "$1 $host" = "get {host}" || exit 9
        echo '{{"ServerURL": "{host}", "Username": "{TEST_USER}", "Secret": "{TEST_PASSWORD}"}}'"#
    );
    sandbox.helper("knows", &knows);
    sandbox.helper(
        "nothing",
        "echo credentials not found in native keychain; exit 1",
    );
    sandbox.helper("broken", "echo 'no agent is running'; echo more; exit 3");
    for config in [
        r#"{"credsStore": "knows"}"#.to_owned(),
        format!(r#"{{"credHelpers": {{"{host}": "knows"}}, "credsStore": "missing"}}"#),
        format!(
            r#"{{"credHelpers": {{"other.example": "missing"}}, "credsStore": "knows", "auths": {{"{host}": {WRONG}}}}}"#
        ),
        format!(
            r#"{{"credsStore": "nothing", "auths": {{"{host}": {}}}}}"#,
            right()
        ),
        format!(
            r#"{{"credHelpers": {{"{host}": ""}}, "credsStore": "missing", "auths": {{"{host}": {}}}}}"#,
            right()
        ),
    ] {
        reader.write("docker/config.json", &config);
        assert_eq!(
            reader.code(&variables),
            (Some(0), String::new()),
            "{config}"
        );
    }
    // A helper that knows nothing does not end the search.
    reader.write("docker/config.json", r#"{"credsStore": "nothing"}"#);
    assert_eq!(reader.code(&variables).0, Some(4));
    reader.write("home/.dockercfg", &format!(r#"{{"{host}": {}}}"#, right()));
    assert_eq!(reader.code(&variables).0, Some(0));

    for (name, code, expected) in [
        (
            "missing",
            1,
            format!(
                "error: `{docker}/config.json` leaves the credentials of {host} to `docker-credential-missing`, \
                 which is not on PATH\n\nhint: install it"
            ),
        ),
        (
            "broken",
            1,
            format!(
                "error: `docker-credential-broken get` failed for {host} (exit status: 3): no agent is running\n\nhint:"
            ),
        ),
        (
            "../bin/knows",
            3,
            format!(
                "error: `{docker}/config.json` names the credential helper `../bin/knows`: expected letters"
            ),
        ),
    ] {
        reader.write(
            "docker/config.json",
            &format!(r#"{{"credsStore": "{name}"}}"#),
        );
        let (found, stderr) = reader.code(&variables);
        assert_eq!(found, Some(code), "{stderr}");
        assert!(stderr.starts_with(&expected), "{stderr}");
    }
}

#[test]
fn the_longest_namespace_counts() {
    let sandbox = Sandbox::new();
    let Some(registry) = registry_with_image(&sandbox) else {
        return;
    };
    let host = registry.host();
    let reader = Reader {
        sandbox: &sandbox,
        image: format!("docker://{host}/team/app:v1"),
    };
    for (right_key, wrong_keys, code) in [
        ("/team/app", ["", "/team"], 0),
        ("/team", ["", "/team/application"], 0),
        ("", ["/tea", "/team/app/part"], 0),
        ("/team", ["", "/team/app"], 4),
    ] {
        let wrong = wrong_keys.map(|key| format!(r#""{host}{key}": {WRONG}"#));
        let entries = format!(r#"{}, "{host}{right_key}": {}"#, wrong.join(", "), right());
        reader.write("named.json", &format!(r#"{{"auths": {{{entries}}}}}"#));
        let (found, stderr) = reader.code(&[("REGISTRY_AUTH_FILE", "named.json")]);
        assert_eq!(found, Some(code), "{entries}: {stderr}");
    }
}

#[test]
fn identity_tokens_are_exchanged_wherever_they_come_from() {
    let tokens = TokenServer::start(TokenRules::default());
    let setup = RegistrySetup::new(RegistryKind::Distribution2).with_tokens(&tokens);
    let Some(registry) = setup.start() else {
        return;
    };
    let host = registry.host();
    let sandbox = Sandbox::new();
    sandbox.helper(
        "token",
        &format!(r#"echo '{{"Username": "<token>", "Secret": "{TEST_REFRESH_TOKEN}"}}'"#),
    );
    let target = format!("{host}/team/app:v1");
    let push = [
        "push",
        "closure.json",
        &target,
        "--physical-store",
        "store",
        "-q",
    ];
    for (config, code) in [
        (
            auths(
                host,
                &format!(r#"{{"identitytoken": "{TEST_REFRESH_TOKEN}"}}"#),
            ),
            0,
        ),
        (auths(host, r#"{"identitytoken": "wrong"}"#), 4),
        (r#"{"credsStore": "token"}"#.to_owned(), 0),
    ] {
        sandbox.write("named.json", &config);
        let output = sandbox
            .command(&push)
            .env("REGISTRY_AUTH_FILE", "named.json")
            .env("PATH", sandbox.path("bin"))
            .output()
            .unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{config}: {}",
            text(&output.stderr)
        );
    }
    let exchanged = tokens
        .requests()
        .iter()
        .any(|request| request.method == "POST");
    assert!(exchanged);
}

#[test]
fn a_broken_file_is_named_with_the_place_and_without_its_content() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "auth.json",
        "{\"auths\": {\n  \"h.example\": {\"auth\": \"c2VjcmV0\",}}}",
    );
    let registry = asking_registry();
    let image = format!("docker://{}/team/app:v1", registry.host());
    let output = sandbox.run(&["inspect", &image, "--authfile", "auth.json"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        text(&output.stderr),
        "error: `auth.json` is not a Docker or containers auth file: line 2, column 36\n\n\
         hint: expected `{\"auths\": {\"HOST\": {\"auth\": \"…\"}}}`: correct the file, or move it away and log in again\n"
    );
}

/// A registry that wants a password and lets nobody in.
fn asking_registry() -> RecordingRegistry {
    RecordingRegistry::start_with(|_: &Request| {
        let refusal = Answer::refusal(401, "UNAUTHORIZED", "authentication required");
        Some(refusal.with_header("WWW-Authenticate", "Basic realm=\"test\""))
    })
}

fn was_told(registry: &RecordingRegistry) -> bool {
    let requests = registry.requests();
    assert!(!requests.is_empty());
    requests
        .iter()
        .any(|request| request.header("authorization").is_some())
}

#[test]
fn what_is_given_directly_goes_to_one_host() {
    let sandbox = Sandbox::new();
    let user = [
        ("REGISTRY_USERNAME", "ann"),
        ("REGISTRY_PASSWORD", "s3cret"),
    ];
    let push = |prior: &str, target: &str| {
        let (prior, target) = (format!("docker://{prior}/a:v1"), format!("{target}/b:v1"));
        let arguments = ["push", "closure.json", &target, "--prior", &prior];
        sandbox.command(&arguments).envs(user).output().unwrap()
    };
    let (prior, target) = (asking_registry(), asking_registry());
    assert_eq!(push(&prior.host(), &target.host()).status.code(), Some(4));
    assert!(
        !was_told(&prior),
        "the prior image's registry is another one"
    );

    let (old, new) = (asking_registry(), asking_registry());
    let images = [
        format!("docker://{}/a:v1", old.host()),
        format!("docker://{}/a:v2", new.host()),
    ];
    for image in [&images[0], &images[1]] {
        let mut diff = sandbox.command(&["diff", &images[0], image]);
        assert_eq!(diff.envs(user).output().unwrap().status.code(), Some(4));
    }
    let mut diff = sandbox.command(&["diff", &images[0], &images[0]]);
    assert_eq!(diff.envs(user).output().unwrap().status.code(), Some(4));
    assert!(was_told(&old), "here it is both");

    // An image specification is no command line.
    let of_spec = asking_registry();
    let spec = format!(
        r#"{{"schema": "nixply.image/1", "closure": "closure.json", "prior": "docker://{}/a:v1"}}"#,
        of_spec.host()
    );
    sandbox.write("image.json", &spec);
    let output = sandbox
        .command(&["plan", "image.json"])
        .envs(user)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    assert!(!was_told(&of_spec));
}

#[test]
fn githubs_token_goes_to_github_alone() {
    let sandbox = Sandbox::new();
    let registry = asking_registry();
    let image = format!("docker://{}/a:v1", registry.host());
    let output = sandbox
        .command(&["inspect", &image])
        .envs([("GITHUB_TOKEN", "s3cret"), ("GITHUB_ACTOR", "ann")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(!was_told(&registry));
}

#[test]
fn what_does_not_go_together() {
    let sandbox = Sandbox::new();
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = sandbox.command(arguments);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        (output.status.code(), text(&output.stderr))
    };
    let (code, stderr) = run(
        &[
            "plan",
            "closure.json",
            "--username",
            "ann",
            "--password-stdin",
        ],
        &[],
    );
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("no image of the command line is in a registry"),
        "{stderr}"
    );
    let push = [
        "push",
        "-",
        "h.example/a",
        "--username",
        "ann",
        "--password-stdin",
    ];
    let (code, stderr) = run(&push, &[]);
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("cannot both come from standard input"),
        "{stderr}"
    );
    for arguments in [
        &["--username", "ann"][..],
        &["--password-stdin"],
        &["--username", "a:b", "--password-stdin"],
        &["--password", "s3cret"],
    ] {
        let inspect = [&["inspect", "docker://h.example/a:v1"][..], arguments].concat();
        assert_eq!(run(&inspect, &[]).0, Some(2), "{arguments:?}");
    }
    let inspect = ["inspect", "docker://127.0.0.1:1/a:v1"];
    for (variable, other) in [
        ("REGISTRY_USERNAME", "REGISTRY_PASSWORD"),
        ("REGISTRY_PASSWORD", "REGISTRY_USERNAME"),
    ] {
        let half = [(variable, "x"), (other, "")];
        let (_, stderr) = run(&inspect, &half);
        let expected = format!(
            "warning: {variable} is set and {other} is empty or not set; going on without both\n"
        );
        assert!(stderr.starts_with(&expected), "{stderr}");
        assert_eq!(
            run(&["plan", "closure.json"], &half),
            (Some(0), String::new())
        );
    }
}
