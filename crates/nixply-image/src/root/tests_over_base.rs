use super::tests::{listing, text};
use super::*;
use crate::BaseTree;

const PASSWD: &str = "\
# of the base
root:x:0:0:root:/root:/bin/bash
bin:x:2:2:bin:/bin:/usr/sbin/nologin
+::::::
postgres:x:999:999:PostgreSQL:/var/lib/postgresql:/bin/sh
app:*:1000:1000::/home/app:/bin/sh";

const GROUP: &str = "\
root:x:0:
sudo:x:27:
adm:x:4:syslog,app
shadow:x:42:
postgres:x:999:
app:x:1000:
";

fn base() -> BaseTree {
    let tree = serde_json::json!({
        "links": {"home": "srv/home"},
        "directories": {
            "var/lib/postgresql": {"mode": "1777", "uid": 999, "gid": 999},
            "srv/home/app": {"mode": "0750", "uid": 1000, "gid": 1000},
            "srv/www": {"mode": "0700", "uid": 33, "gid": 33},
            "tmp": {"mode": "0777", "uid": 0, "gid": 0},
        },
        "accounts": {"passwd": PASSWD, "group": GROUP, "has_shadow": true, "has_nsswitch": true},
    });
    serde_json::from_value(tree).unwrap()
}

fn over(base: &BaseTree, json: &str) -> Result<Lowered, RootSpecError> {
    lower(&serde_json::from_str(json).unwrap(), &[], Some(base))
}

fn lowered(json: &str) -> Lowered {
    over(&base(), json).unwrap()
}

#[test]
fn users_and_groups_are_added_to_those_of_the_base() {
    let lowered = lowered(
        r#"{"users":{"joe":{"uid":1001,"groups":["sudo","dev"],"description":"Joe"},
                     "ann":{"uid":1002,"gid":999,"groups":["adm"]}},
            "groups":{"dev":{"gid":50,"members":["postgres"]},"adm":{"gid":4,"members":["app"]}},
            "files":{"/srv/x":{"text":"","user":"postgres","mode":"0600"},
                     "/srv/y":{"text":"","group":"sudo"}},
            "shell":"/bin/zsh"}"#,
    );
    assert_eq!(
        text(&lowered, "etc/passwd"),
        format!(
            "{PASSWD}\n\
             joe:!:1001:1001:Joe:/home/joe:/bin/zsh\n\
             ann:!:1002:999::/home/ann:/bin/zsh\n"
        )
    );
    assert_eq!(
        text(&lowered, "etc/group"),
        "root:x:0:\n\
         sudo:x:27:joe\n\
         adm:x:4:syslog,app,ann\n\
         shadow:x:42:\n\
         postgres:x:999:\n\
         app:x:1000:\n\
         dev:x:50:joe,postgres\n\
         joe:x:1001:\n"
    );
    // Neither /etc/shadow nor /etc/nsswitch.conf nor /tmp nor /root.
    assert_eq!(
        listing(&lowered),
        [
            "0777 0:0 bin/sh -> /bin/zsh",
            "0644 0:0 etc/group",
            "0644 0:0 etc/passwd",
            "0755 1002:999 home/ann/",
            "0755 1001:1001 home/joe/",
            "0600 999:999 srv/x",
            "0644 0:27 srv/y",
            "1777 0:0 var/tmp/",
        ]
    );
}

#[test]
fn a_user_of_the_base_is_taken_over_and_keeps_what_is_not_said() {
    let taken = lowered(
        r#"{"users":{"root":{"uid":0},"bin":{"uid":2,"shell":"/bin/sh"},
                     "app":{"uid":1000,"description":"App","groups":["sudo"]}},
            "shell":"/bin/zsh","nsswitch":true,"tmp":true}"#,
    );
    let expected = PASSWD
        .replace(":/usr/sbin/nologin", ":/bin/sh")
        .replace("1000::/home", "1000:App:/home");
    assert_eq!(text(&taken, "etc/passwd"), format!("{expected}\n"));
    assert_eq!(
        text(&taken, "etc/group"),
        GROUP.replace("sudo:x:27:", "sudo:x:27:app")
    );
    // What is asked for in words replaces what the base has.
    assert_eq!(
        listing(&taken),
        [
            "0777 0:0 bin/sh -> /bin/zsh",
            "0644 0:0 etc/group",
            "0644 0:0 etc/nsswitch.conf",
            "0644 0:0 etc/passwd",
            "1777 0:0 tmp/",
            "1777 0:0 var/tmp/",
        ]
    );
    let group_only = lowered(r#"{"groups":{"dev":{"gid":50}},"tmp":false}"#);
    assert_eq!(text(&group_only, "etc/passwd"), format!("{PASSWD}\n"));
    assert_eq!(
        text(&group_only, "etc/group"),
        format!("{GROUP}dev:x:50:\n")
    );
}

#[test]
fn lines_that_nobody_reads_are_no_users_and_groups() {
    let comments = "#app:x:1000:1000::/:/bin/sh\n  # ann:x:1001:1001::/:\n+nis:x:1002:1002::/:\n";
    let groups = "#app:x:1000:\n \t#ann:x:1001:\n-nis:x:1002:joe\n";
    let mut base = base();
    let accounts = base.accounts.as_mut().unwrap();
    accounts.passwd = comments.to_owned();
    accounts.group = groups.to_owned();
    let json = r#"{"users":{"app":{"uid":1000},"ann":{"uid":1001},"nis":{"uid":1002}}}"#;
    let lowered = over(&base, json).unwrap();
    assert_eq!(
        text(&lowered, "etc/passwd"),
        format!(
            "{comments}\
             root:!:0:0:root:/root:/bin/sh\n\
             app:!:1000:1000::/home/app:/bin/sh\n\
             ann:!:1001:1001::/home/ann:/bin/sh\n\
             nis:!:1002:1002::/home/nis:/bin/sh\n"
        )
    );
    assert_eq!(
        text(&lowered, "etc/group"),
        format!("{groups}root:x:0:\napp:x:1000:\nann:x:1001:\nnis:x:1002:\n")
    );
}

#[test]
fn a_home_that_the_base_has_stays_as_it_is_unless_one_is_asked_for() {
    let homes = |user: &str| {
        let json = format!(r#"{{"users":{{{user}}},"tmp":false}}"#);
        let lowered = lowered(&json);
        let user = &lowered.accounts.users()[0];
        let listed = listing(&lowered)
            .into_iter()
            .find(|line| line.ends_with('/'));
        (listed, user.owns_home)
    };
    assert_eq!(homes(r#""app":{"uid":1000}"#), (None, true));
    assert_eq!(
        homes(r#""app":{"uid":1000,"create_home":false}"#),
        (None, false)
    );
    // What a base calls home need not be its user's.
    assert_eq!(homes(r#""bin":{"uid":2}"#), (None, false));
    assert_eq!(
        homes(r#""joe":{"uid":1001,"home":"/srv/www"}"#),
        (None, false)
    );
    let asked = homes(r#""app":{"uid":1000,"create_home":true}"#);
    assert_eq!(asked, (Some("0755 1000:1000 home/app/".to_owned()), true));
    let other = homes(r#""app":{"uid":1000,"home":"/app"}"#);
    assert_eq!(other, (Some("0755 1000:1000 app/".to_owned()), true));
}

#[test]
fn what_cannot_stand_beside_the_base_is_said() {
    for (json, message, hint) in [
        (
            r#"{"users":{"app":{"uid":1001}}}"#,
            "user `app` has the ID 1000 in the base image, not 1001",
            "give 1000, to mean the one of the base image",
        ),
        (
            r#"{"users":{"vscode":{"uid":1000}}}"#,
            "user `vscode` cannot have the ID 1000, which is that of `app` in the base image",
            "another `uid`, or the name `app`",
        ),
        (
            r#"{"groups":{"sudo":{"gid":28}}}"#,
            "group `sudo` has the ID 27 in the base image, not 28",
            "give 27",
        ),
        (
            r#"{"groups":{"wheel":{"gid":27}}}"#,
            "group `wheel` cannot have the ID 27, which is that of `sudo` in the base image",
            "`\"group\": \"sudo\"` puts it into that one",
        ),
        (
            r#"{"users":{"admin":{"uid":27}}}"#,
            "group `admin` cannot have the ID 27, which is that of `sudo` in the base image",
            "`\"group\": \"sudo\"`",
        ),
        (
            r#"{"users":{"god":{"uid":0,"group":"root"}}}"#,
            "user `god` cannot have the ID 0, which is that of `root` in the base image",
            "another `uid`",
        ),
        (
            r#"{"users":{"joe":{"uid":7,"password":"$y$hash"}}}"#,
            "user `joe`: no password can be given, since the `/etc/shadow` of the base image stays as it is",
            "give the whole file in `files`",
        ),
    ] {
        let error = over(&base(), json).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert!(error.hint().unwrap().contains(hint), "{:?}", error.hint());
    }
    let unknown = BaseTree::default();
    let error = over(&unknown, r#"{"users":{}}"#).unwrap_err();
    assert!(error.to_string().starts_with("nobody knows which users"));
    assert!(over(&unknown, r#"{"shell":"/bin/sh"}"#).is_ok());
}

#[test]
fn over_a_base_without_accounts_the_files_are_whole() {
    let base = BaseTree {
        accounts: Some(crate::BaseAccounts::default()),
        ..BaseTree::default()
    };
    let json = r#"{"users":{"a":{"uid":5,"password":"$y$hash"}}}"#;
    let without_base = lower(&serde_json::from_str(json).unwrap(), &[], None).unwrap();
    assert_eq!(over(&base, json).unwrap().derived, without_base.derived);
}

#[test]
fn a_shadow_that_is_given_as_a_whole_is_asked_for_passwords() {
    let lowered = lowered(
        r#"{"users":{"joe":{"uid":7,"password":"$y$hash"}},
            "files":{"/etc/shadow":{"text":"joe:$y$hash:1::::::\n","mode":"0640"}}}"#,
    );
    assert!(text(&lowered, "etc/passwd").contains("\njoe:x:7:7:"));
    assert_eq!(text(&lowered, "etc/shadow"), "joe:$y$hash:1::::::\n");
}
