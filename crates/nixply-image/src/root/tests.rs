use super::*;
use crate::{RootFileSpec, RootFileType};

fn lowered(json: &str) -> Lowered {
    lower(&serde_json::from_str(json).unwrap(), &[], None).unwrap()
}

fn refusal(json: &str) -> String {
    let error = lower(&serde_json::from_str(json).unwrap(), &[], None).unwrap_err();
    error.to_string()
}

/// All files, one line each: mode, owner, path, and what it holds.
pub(super) fn listing(lowered: &Lowered) -> Vec<String> {
    let line = |file: &RootFileSpec| {
        let layer = file.to_layer();
        let mode = layer.map_or_else(|_| "source".to_owned(), |file| format!("{:04o}", file.mode));
        let what = match file.kind {
            RootFileType::Symlink => format!(" -> {}", file.target.as_deref().unwrap()),
            RootFileType::Directory => "/".to_owned(),
            RootFileType::File => String::new(),
        };
        format!("{mode} {}:{} {}{what}", file.uid, file.gid, file.path)
    };
    let mut lines: Vec<String> = (lowered.explicit.iter().chain(&lowered.derived))
        .map(line)
        .collect();
    lines.sort_by_key(|line| line.split(' ').nth(2).map(str::to_owned));
    lines
}

pub(super) fn text<'l>(lowered: &'l Lowered, path: &str) -> &'l str {
    let mut files = lowered.explicit.iter().chain(&lowered.derived);
    let file = files.find(|file| file.path == path).unwrap();
    file.content.as_deref().unwrap()
}

const DEVCONTAINER: &str = r#"{
    "users": { "vscode": { "uid": 1000, "groups": ["wheel"], "shell": "/bin/bash", "description": "VS Code" } },
    "groups": { "wheel": { "gid": 10 }, "shadow": { "gid": 42 } },
    "files": {
        "/etc/sudoers.d/vscode": { "text": "vscode ALL=(ALL) NOPASSWD:ALL\n", "mode": "0440" },
        "/home/vscode/.config/x": { "text": "", "user": "vscode" },
        "/srv/x": { "source": "/nix/store/x", "uid": 7, "group": "wheel" }
    },
    "directories": { "/workspace/": { "user": "vscode" } },
    "links": { "/bin/bash": "/nix/store/11111111111111111111111111111111-bash/bin/bash" },
    "shell": "/bin/bash",
    "env": "/bin/env",
    "ca_certificates": "/ca.crt",
    "os_release": { "NAME": "NixOS", "ID": "nixos", "PRETTY_NAME": "A \"nix\" $x" }
}"#;

#[test]
fn a_devcontainer() {
    let lowered = lowered(DEVCONTAINER);
    assert_eq!(
        listing(&lowered),
        [
            "0777 0:0 bin/bash -> /nix/store/11111111111111111111111111111111-bash/bin/bash",
            "0777 0:0 bin/sh -> /bin/bash",
            "0644 0:0 etc/group",
            "0644 0:0 etc/nsswitch.conf",
            "0644 0:0 etc/os-release",
            "0644 0:0 etc/passwd",
            "0777 0:0 etc/pki/tls/certs/ca-bundle.crt -> /ca.crt",
            "0640 0:42 etc/shadow",
            "0777 0:0 etc/ssl/cert.pem -> /ca.crt",
            "0777 0:0 etc/ssl/certs/ca-bundle.crt -> /ca.crt",
            "0777 0:0 etc/ssl/certs/ca-certificates.crt -> /ca.crt",
            "0440 0:0 etc/sudoers.d/vscode",
            "0755 1000:1000 home/vscode/",
            "0644 1000:1000 home/vscode/.config/x",
            "0700 0:0 root/",
            "source 7:10 srv/x",
            "1777 0:0 tmp/",
            "0777 0:0 usr/bin/env -> /bin/env",
            "1777 0:0 var/tmp/",
            "0755 1000:1000 workspace/",
        ]
    );
    assert_eq!(
        text(&lowered, "etc/passwd"),
        "root:x:0:0:root:/root:/bin/bash\nvscode:x:1000:1000:VS Code:/home/vscode:/bin/bash\n"
    );
    assert_eq!(
        text(&lowered, "etc/group"),
        "root:x:0:\nwheel:x:10:vscode\nshadow:x:42:\nvscode:x:1000:\n"
    );
    assert_eq!(
        text(&lowered, "etc/shadow"),
        "root:!:1::::::\nvscode:!:1::::::\n"
    );
    assert_eq!(
        text(&lowered, "etc/os-release"),
        "ID=nixos\nNAME=NixOS\nPRETTY_NAME=\"A \\\"nix\\\" \\$x\"\n"
    );
}

#[test]
fn an_empty_root_has_temporary_directories_only() {
    assert_eq!(
        listing(&lowered("{}")),
        ["1777 0:0 tmp/", "1777 0:0 var/tmp/"]
    );
    assert!(listing(&lowered(r#"{"tmp":false}"#)).is_empty());
    let only_root = lowered(r#"{"users":{},"nsswitch":false,"tmp":false}"#);
    assert_eq!(
        listing(&only_root),
        [
            "0644 0:0 etc/group",
            "0644 0:0 etc/passwd",
            "0640 0:0 etc/shadow",
            "0700 0:0 root/",
        ]
    );
    assert_eq!(
        text(&only_root, "etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\n"
    );
}

#[test]
fn what_is_asked_for_by_its_path_wins() {
    let lowered = lowered(
        r#"{"users":{"a":{"uid":5}}, "shell":"/x",
            "files":{"/etc/passwd":{"text":"mine"}},
            "directories":{"/home/a":{"mode":"0700","user":"a"},"/tmp":{"mode":"0777"}},
            "links":{"/bin/sh":"busybox"}}"#,
    );
    let lines = listing(&lowered);
    for line in [
        "0700 5:5 home/a/",
        "0777 0:0 tmp/",
        "0777 0:0 bin/sh -> busybox",
    ] {
        let path = line.split(' ').nth(2).unwrap();
        let found: Vec<_> = (lines.iter())
            .filter(|other| other.split(' ').nth(2) == Some(path))
            .collect();
        assert_eq!(found, [line]);
    }
    assert_eq!(text(&lowered, "etc/passwd"), "mine");
}

#[test]
fn primary_groups() {
    let lowered = lowered(
        r#"{"users":{
              "a":{"uid":5,"group":"b","create_home":false},
              "b":{"uid":6,"home":"/var/empty"},
              "c":{"uid":7,"gid":100,"home":"/srv/c/","password":"$y$hash"},
              "d":{"uid":8,"gid":70},
              "root":{"uid":0,"home":"/var/root","shell":"/sbin/nologin","description":"God"}},
            "groups":{"users":{"gid":100,"members":["a"]}}}"#,
    );
    assert_eq!(
        text(&lowered, "etc/passwd"),
        "root:x:0:0:God:/var/root:/sbin/nologin\n\
         a:x:5:6::/home/a:/bin/sh\n\
         b:x:6:6::/var/empty:/bin/sh\n\
         c:x:7:100::/srv/c:/bin/sh\n\
         d:x:8:70::/home/d:/bin/sh\n"
    );
    assert_eq!(
        text(&lowered, "etc/group"),
        "root:x:0:\nb:x:6:\nd:x:70:\nusers:x:100:a\n"
    );
    assert!(text(&lowered, "etc/shadow").contains("\nc:$y$hash:1::::::\n"));
    let homes: Vec<String> = listing(&lowered)
        .into_iter()
        .filter(|line| line.ends_with('/') && !line.ends_with("tmp/"))
        .collect();
    assert_eq!(
        homes,
        [
            "0755 8:70 home/d/",
            "0755 7:100 srv/c/",
            "0700 0:0 var/root/"
        ]
    );
}

/// Each `root` is refused with a message that begins so.
fn assert_refusals(cases: &[(&str, &str)]) {
    for (json, message) in cases {
        let found = refusal(json);
        assert!(found.starts_with(message), "{json}: {found}");
    }
}

#[test]
fn users_and_groups_that_make_no_sense_are_said() {
    assert_refusals(&[
        (
            r#"{"users":{"a b":{"uid":1}}}"#,
            "user `a b`: expected letters, digits",
        ),
        (r#"{"users":{"":{"uid":1}}}"#, "user ``: expected letters"),
        (
            r#"{"users":{"1a":{"uid":1}}}"#,
            "user `1a`: expected letters",
        ),
        (r#"{"groups":{"a:b":{"gid":1}}}"#, "group `a:b`: expected"),
        (
            r#"{"users":{"a":{"uid":1,"description":"x:y"}}}"#,
            "user `a`: `description` holds a colon",
        ),
        (
            r#"{"users":{"a":{"uid":1,"shell":"/bin/sh\nroot::0:0::/:/bin/sh"}}}"#,
            "user `a`: `shell` holds a colon, a line break",
        ),
        (
            r#"{"users":{"a":{"uid":1,"password":"x:"}}}"#,
            "user `a`: `password` holds a colon",
        ),
        (
            r#"{"users":{"a":{"uid":1,"home":"home/a"}}}"#,
            "home of user `a`: `home/a` is no absolute path",
        ),
        (
            r#"{"users":{"a":{"uid":1,"home":"/home/../a"}}}"#,
            "home of user `a`: `/home/../a` is no absolute path",
        ),
        (
            r#"{"users":{"a":{"uid":4294967295}}}"#,
            "user `a`: 4294967295 is no user or group ID",
        ),
        (
            r#"{"users":{"a":{"uid":1},"b":{"uid":1,"gid":2}}}"#,
            "users `a` and `b` both have the ID 1",
        ),
        (
            r#"{"users":{"a":{"uid":0,"gid":9}}}"#,
            "users `a` and `root` both have the ID 0",
        ),
        (
            r#"{"users":{"root":{"uid":1}}}"#,
            "user `root`: its ID is 0, not 1",
        ),
        (
            r#"{"groups":{"root":{"gid":1}}}"#,
            "group `root`: its ID is 0, not 1",
        ),
        (
            r#"{"groups":{"a":{"gid":1},"b":{"gid":1}}}"#,
            "groups `a` and `b` both have the ID 1",
        ),
        (
            r#"{"users":{"a":{"uid":5}},"groups":{"b":{"gid":5}}}"#,
            "groups `a` and `b` both have the ID 5",
        ),
        (
            r#"{"users":{"a":{"uid":5,"gid":6}},"groups":{"a":{"gid":7}}}"#,
            "user `a`: group `a` has the ID 7, not 6",
        ),
        (
            r#"{"users":{"a":{"uid":5,"gid":6,"group":"b"}},"groups":{"b":{"gid":7}}}"#,
            "user `a`: group `b` has the ID 7, not 6",
        ),
        (
            r#"{"users":{"a":{"uid":5,"group":"b"}}}"#,
            "user `a`: there is no group `b`",
        ),
        (
            r#"{"users":{"a":{"uid":5,"groups":["wheel"]}}}"#,
            "user `a`: there is no group `wheel`",
        ),
        (
            r#"{"groups":{"wheel":{"gid":5,"members":["b"]}}}"#,
            "group `wheel`: there is no user `b`",
        ),
        (
            r#"{"users":{"a":{"uid":5,"home":"/h"},"b":{"uid":6,"home":"/h/"}}}"#,
            "users `a` and `b` have the same home directory `/h`",
        ),
    ]);
}

#[test]
fn files_that_make_no_sense_are_said() {
    assert_refusals(&[
        (
            r#"{"directories":{"/x":{"user":"a"}}}"#,
            "directory `/x`: there is no user `a`",
        ),
        (
            r#"{"files":{"/x":{"text":"","group":"a"}}}"#,
            "file `/x`: there is no group `a`",
        ),
        (
            r#"{"files":{"/x":{"text":"","user":"root","uid":0}}}"#,
            "file `/x`: give either `uid` or `user`",
        ),
        (
            r#"{"files":{"/x":{"text":"","group":"root","gid":0}}}"#,
            "file `/x`: give either `gid` or `group`",
        ),
        (
            // Cut to 32 bits it would be root's, with a setuid bit.
            r#"{"files":{"/x":{"text":"","mode":"4755","uid":4294967296}}}"#,
            "file `/x`: 4294967296 is no user or group ID",
        ),
        (
            r#"{"directories":{"/x":{"gid":4294967295}}}"#,
            "directory `/x`: 4294967295 is no user or group ID",
        ),
        (
            r#"{"files":{"/x":{}}}"#,
            "file `/x`: expected either `text` or `source`",
        ),
        (
            r#"{"files":{"/x":{"text":"","source":"y"}}}"#,
            "file `/x`: expected either `text` or `source`",
        ),
        (
            r#"{"files":{"x":{"text":""}}}"#,
            "file `x`: `x` is no absolute path",
        ),
        (
            r#"{"directories":{"/":{}}}"#,
            "directory `/`: `/` is no absolute path",
        ),
        (
            r#"{"files":{"/x":{"text":""}},"links":{"/x":"y"}}"#,
            "`/x` stands twice in `root`: as a file and as a link",
        ),
        (
            r#"{"directories":{"/x":{},"/x/":{}}}"#,
            "`/x` stands twice in `root`: as a directory and as a directory",
        ),
        (r#"{"shell":"bash"}"#, "shell: `bash` is no absolute path"),
        (
            r#"{"os_release":{"id":"x"}}"#,
            "`os_release.id`: expected a name",
        ),
        (
            r#"{"os_release":{"ID":"a\nb"}}"#,
            "`os_release.ID`: expected a name",
        ),
    ]);
}

#[test]
fn misspelt_fields_are_named() {
    for json in [
        r#"{"user":{}}"#,
        r#"{"users":{"a":{"uid":1,"Shell":""}}}"#,
        r#"{"files":{"/a":{"content":""}}}"#,
        r#"{"directories":{"/a":{"owner":1}}}"#,
        r#"{"groups":{"a":{"gid":1,"users":[]}}}"#,
    ] {
        let error = serde_json::from_str::<RootSpec>(json).unwrap_err();
        assert!(error.to_string().starts_with("unknown field"), "{error}");
    }
}
