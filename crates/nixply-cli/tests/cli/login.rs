//! `nixply login` and `logout`.

use crate::support::Sandbox;
use nixply_testkit::registry::{
    RecordingRegistry, RegistryKind, RegistryProcess, RegistrySetup, TEST_PASSWORD, TEST_USER,
    TokenRules, TokenServer,
};
use nixply_testkit::require_program;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

/// `aladdin:open sesame`, as Docker writes it.
pub(crate) const AUTH: &str = "YWxhZGRpbjpvcGVuIHNlc2FtZQ==";

/// Runs the command with `home/` as home and a password on standard input.
pub(crate) fn run(sandbox: &Sandbox, arguments: &[&str], password: &str) -> Output {
    let mut command = sandbox.command(arguments);
    command
        .env("HOME", sandbox.path("home"))
        .env("XDG_RUNTIME_DIR", sandbox.path("runtime"))
        .env("PATH", sandbox.path("bin"));
    with_input(&mut command, password)
}

pub(crate) fn with_input(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that asks for nothing may have ended.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

pub(crate) fn texts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

pub(crate) fn login(
    sandbox: &Sandbox,
    key: &str,
    password: &str,
    more: &[&str],
) -> (Option<i32>, String, String) {
    let arguments = ["login", key, "-u", TEST_USER, "--password-stdin"];
    texts(&run(sandbox, &[&arguments, more].concat(), password))
}

fn mode(sandbox: &Sandbox, name: &str) -> u32 {
    fs::metadata(sandbox.path(name))
        .unwrap()
        .permissions()
        .mode()
        & 0o777
}

pub(crate) fn read(sandbox: &Sandbox, name: &str) -> String {
    fs::read_to_string(sandbox.path(name)).unwrap()
}

#[test]
fn a_login_is_checked_kept_used_and_forgotten() {
    let Some(registry) = RegistryProcess::start_with_user() else {
        return;
    };
    let host = registry.host();
    let sandbox = Sandbox::new();
    let file = sandbox
        .path("home/.docker/config.json")
        .display()
        .to_string();
    let (code, stdout, stderr) = login(&sandbox, host, "wrong", &[]);
    assert_eq!(code, Some(4), "{stderr}");
    assert!(stderr.contains("status 401"), "{stderr}");
    assert!(
        stderr.contains("hint: check the user name and the password"),
        "{stderr}"
    );
    assert!(stdout.is_empty() && !sandbox.path("home").exists());

    let logged_in = login(&sandbox, host, &format!("{TEST_PASSWORD}\n"), &[]);
    let expected =
        format!("logged in to {host} as {TEST_USER}\n  kept in  `{file}`, not encrypted\n");
    assert_eq!(logged_in, (Some(0), expected, String::new()));
    let kept = format!(
        "{{\n\t\"auths\": {{\n\t\t\"{host}\": {{\n\t\t\t\"auth\": \"{AUTH}\"\n\t\t}}\n\t}}\n}}\n"
    );
    assert_eq!(read(&sandbox, "home/.docker/config.json"), kept);
    assert_eq!(mode(&sandbox, "home/.docker/config.json"), 0o600);
    assert_eq!(mode(&sandbox, "home/.docker"), 0o700);

    let target = format!("{host}/team/app:v1");
    let push = [
        "push",
        "closure.json",
        &target,
        "--physical-store",
        "store",
        "-q",
    ];
    assert_eq!(texts(&run(&sandbox, &push, "")).0, Some(0));
    let logout = ["logout", host];
    let logged_out = texts(&run(&sandbox, &logout, ""));
    let expected = format!("logged out of {host}\n  taken out of  `{file}`\n");
    assert_eq!(logged_out, (Some(0), expected, String::new()));
    assert!(!read(&sandbox, "home/.docker/config.json").contains(host));
    let again = texts(&run(&sandbox, &logout, ""));
    assert_eq!(
        again.1,
        format!("nothing to forget of {host} in `{file}`\n")
    );
    assert_eq!(texts(&run(&sandbox, &push, "")).0, Some(4));
}

#[test]
fn a_token_service_is_asked_who_one_is() {
    let tokens = TokenServer::start(TokenRules::default());
    let setup = RegistrySetup::new(RegistryKind::Distribution2).with_tokens(&tokens);
    let Some(registry) = setup.start() else {
        return;
    };
    let sandbox = Sandbox::new();
    let (code, _, stderr) = login(&sandbox, registry.host(), "wrong", &[]);
    assert_eq!(code, Some(4), "{stderr}");
    assert!(
        stderr.contains("hint: check the user name and the password"),
        "{stderr}"
    );
    let (code, _, stderr) = login(&sandbox, registry.host(), TEST_PASSWORD, &[]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(read(&sandbox, "home/.docker/config.json").contains(AUTH));
}

#[test]
fn a_registry_that_asks_for_nothing_is_told() {
    let registry = RecordingRegistry::start();
    let host = registry.host();
    let sandbox = Sandbox::new();
    let (code, _, stderr) = login(&sandbox, &host, "whatever", &[]);
    assert_eq!(code, Some(0));
    let expected = format!("warning: {host} lets everybody in, so the password was not checked\n");
    assert_eq!(stderr, expected);
    let requests = registry.requests();
    assert!(
        requests
            .iter()
            .all(|request| request.header("authorization").is_none())
    );
}

#[test]
fn where_a_login_is_kept() {
    let registry = RecordingRegistry::start();
    let host = registry.host();
    let sandbox = Sandbox::new();
    let namespace = format!("{host}/team");
    for (key, arguments, variable, file) in [
        (&host, &[][..], None, "home/.docker/config.json"),
        (&namespace, &[], None, "home/.config/containers/auth.json"),
        (&namespace, &[], Some("named.json"), "named.json"),
        (
            &host,
            &["--authfile", "option.json"],
            Some("named.json"),
            "option.json",
        ),
    ] {
        let login = ["login", key, "-u", TEST_USER, "--password-stdin"];
        for arguments in [
            [&login[..], arguments].concat(),
            [&["logout", key][..], arguments].concat(),
        ] {
            let mut command = sandbox.command(&arguments);
            command.env("HOME", sandbox.path("home"));
            command.envs(variable.map(|name| ("REGISTRY_AUTH_FILE", name)));
            let (code, stdout, stderr) = texts(&with_input(&mut command, "p"));
            assert_eq!(code, Some(0), "{stderr}");
            assert!(stdout.contains(&format!("{file}`")), "{stdout}");
            let is_there = read(&sandbox, file).contains(&format!("\"{key}\""));
            assert_eq!(is_there, arguments[0] == "login", "{arguments:?}");
        }
    }
    let nowhere = sandbox.command(&["logout", &host]).output().unwrap();
    assert_eq!(texts(&nowhere).0, Some(1));
}

#[test]
fn a_helper_keeps_the_password_and_the_rest_of_the_file_stays() {
    let registry = RecordingRegistry::start();
    let host = registry.host();
    let sandbox = Sandbox::new();
    let script = r#"PATH=/usr/bin:/bin; kept="${0%/*}/kept"
        case $1 in
          store) cat > "$kept";;
          get) test -e "$kept" && cat "$kept" || { echo credentials not found in native keychain; exit 1; };;
          erase) rm "$kept";;
        esac"#;
    sandbox.helper("kept", script);
    sandbox.helper("broken", "echo 'the agent is locked'; exit 2");
    fs::create_dir_all(sandbox.path("home/.docker")).unwrap();
    let config = |helper: &str| {
        format!(
            "{{\n  \"psFormat\": \"table\",\n  \"credHelpers\": {{\"{host}\": \"{helper}\"}}\n}}"
        )
    };
    sandbox.write("home/.docker/config.json", &config("kept"));
    let (code, stdout, stderr) = login(&sandbox, &host, TEST_PASSWORD, &[]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stdout.ends_with("  kept in  `docker-credential-kept`\n"),
        "{stdout}"
    );
    let after = read(&sandbox, "home/.docker/config.json");
    assert!(
        after.starts_with("{\n\t\"psFormat\": \"table\",\n\t\"credHelpers\": {\"")
            && !after.contains(AUTH)
    );
    assert!(read(&sandbox, "bin/kept").contains(TEST_PASSWORD));
    let (code, stdout, _) = texts(&run(&sandbox, &["logout", &host], ""));
    assert_eq!(code, Some(0));
    assert!(
        stdout.ends_with("  taken out of  `docker-credential-kept`\n"),
        "{stdout}"
    );

    sandbox.write("home/.docker/config.json", &config("broken"));
    let (code, _, stderr) = login(&sandbox, &host, TEST_PASSWORD, &[]);
    assert_eq!(code, Some(1));
    let expected = format!(
        "error: `docker-credential-broken store` failed for {host} (exit status: 2): the agent is locked\n"
    );
    assert!(stderr.contains(&expected), "{stderr}");
}

#[test]
fn a_file_that_hides_the_login_is_told() {
    let registry = RecordingRegistry::start();
    let host = registry.host();
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("runtime/containers")).unwrap();
    sandbox.write(
        "runtime/containers/auth.json",
        &format!(r#"{{"auths": {{"{host}": {{"auth": "b2xkOm9sZA=="}}}}}}"#),
    );
    let other = sandbox
        .path("runtime/containers/auth.json")
        .display()
        .to_string();
    let (code, _, stderr) = login(&sandbox, &host, TEST_PASSWORD, &[]);
    assert_eq!(code, Some(0));
    let expected =
        format!("warning: `{other}` is asked first and has other credentials for {host}\n");
    assert!(stderr.ends_with(&expected), "{stderr}");
    let (code, _, stderr) = texts(&run(&sandbox, &["logout", &host], ""));
    assert_eq!(code, Some(0));
    assert_eq!(
        stderr,
        format!("warning: `{other}` still has credentials for {host}\n")
    );
}

#[test]
fn what_makes_no_login() {
    let sandbox = Sandbox::new();
    for (arguments, code) in [
        (&["login", "ghcr"][..], 2),
        (
            &["login", "h.example/a:tag", "-u", "u", "--password-stdin"],
            2,
        ),
        (&["login", "h.example", "-u", "a:b", "--password-stdin"], 2),
        (&["login", "h.example", "--password-stdin"], 2),
        (&["login", "h.example"], 2),
        (
            &[
                "login",
                "127.0.0.1:1",
                "-u",
                "u",
                "--password-stdin",
                "--retries",
                "0",
            ],
            4,
        ),
        (&["logout", "user@h.example"], 2),
    ] {
        let (found, stdout, stderr) = texts(&run(&sandbox, arguments, "p"));
        assert_eq!(found, Some(code), "{arguments:?}: {stderr}");
        assert!(
            stdout.is_empty() && !sandbox.path("home").exists(),
            "{arguments:?}"
        );
    }
    let (code, _, stderr) = login(&sandbox, "h.example", "", &[]);
    assert_eq!(code, Some(2));
    assert!(
        stderr.starts_with("error: the password from standard input is empty\n"),
        "{stderr}"
    );
    fs::create_dir_all(sandbox.path("home/.docker")).unwrap();
    sandbox.write("home/.docker/config.json", "[\"s3cret\"]");
    let registry = RecordingRegistry::start();
    let (code, _, stderr) = login(&sandbox, &registry.host(), "p", &[]);
    assert_eq!(code, Some(3));
    assert!(
        stderr.contains("config.json` is not a Docker or containers auth file: line 1"),
        "{stderr}"
    );
    assert_eq!(read(&sandbox, "home/.docker/config.json"), "[\"s3cret\"]");
}

#[test]
fn a_terminal_is_asked_and_shows_no_password() {
    let Some(script) = require_program("script") else {
        return;
    };
    let Some(registry) = RegistryProcess::start_with_user() else {
        return;
    };
    let sandbox = Sandbox::new();
    // The first line tells which terminal it is.
    let words = format!(
        "tty; exec '{}' login {}",
        env!("CARGO_BIN_EXE_nixply"),
        registry.host()
    );
    let mut command = Command::new(script);
    command
        .args(["-q", "-e", "-c", &words, "/dev/null"])
        .env("HOME", sandbox.path("home"))
        .env("XDG_RUNTIME_DIR", sandbox.path("runtime"));
    for variable in ["DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME"] {
        command.env_remove(variable);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut terminal = child.stdout.take().unwrap();
    let mut keyboard = child.stdin.take().unwrap();
    let mut seen = String::new();
    let mut read_until = |prompt: &str| {
        while !(seen.contains(prompt) && seen.ends_with(": ")) {
            let mut bytes = [0; 256];
            let n = std::io::Read::read(&mut terminal, &mut bytes).unwrap();
            assert!(n > 0, "{seen}");
            seen += &String::from_utf8_lossy(&bytes[..n]);
        }
        seen.lines().next().unwrap().trim().to_owned()
    };
    let name = read_until("user name for");
    writeln!(keyboard, "{TEST_USER}").unwrap();
    read_until("password of");
    // What is typed in the instant between the question and the end of echoing would be shown.
    let is_echoing = || {
        let settings = Command::new("stty").args(["-a", "-F", &name]).output();
        let settings = settings.unwrap();
        assert!(settings.status.success(), "{name} is a terminal");
        !String::from_utf8_lossy(&settings.stdout).contains(" -echo ")
    };
    while is_echoing() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    writeln!(keyboard, "{TEST_PASSWORD}").unwrap();
    std::io::Read::read_to_string(&mut terminal, &mut seen).unwrap();
    assert!(child.wait().unwrap().success(), "{seen}");
    assert!(
        seen.contains(&format!("logged in to {} as {TEST_USER}", registry.host())),
        "{seen}"
    );
    assert!(!seen.contains(TEST_PASSWORD), "{seen}");
    assert!(read(&sandbox, "home/.docker/config.json").contains(AUTH));
}
