use super::*;
use crate::linking::tests::{A, B, Store, closure};

fn compose(store: &Store, json: &str) -> Result<ComposedRoot, RootError> {
    let spec = format!(r#"{{"schema":"nixply.image/1",{json}}}"#).replace("PATH", A);
    let spec = ImageSpec::from_json(spec.as_bytes()).unwrap();
    compose_root(&spec, Path::new("/"), None, &store.root(), None)
}

fn store() -> Store {
    let store = Store::new();
    store
        .file(&format!("{A}/etc/ssl/cert.pem"), "")
        .file(&format!("{A}/etc/passwd"), "")
        .link(&format!("{A}/bin"), "sbin")
        .program(&format!("{A}/sbin/sh"), "sh")
        .directory(&format!("{A}/var/empty"));
    store
}

fn linked(composed: &ComposedRoot) -> Vec<String> {
    let contents = composed.contents.iter();
    let mut paths: Vec<String> = contents
        .flat_map(LinkedContent::root_files)
        .map(|file| file.path)
        .collect();
    paths.sort();
    paths
}

#[test]
fn what_is_asked_for_by_its_path_wins_over_contents() {
    let composed = compose(
        &store(),
        r#""contents":["PATH"],
           "files":[{"path":"etc/ssl/cert.pem","type":"file","content":"mine"}],
           "root":{"users":{},"directories":{"/var/empty":{"mode":"0555"}},"tmp":false}"#,
    )
    .unwrap();
    assert_eq!(linked(&composed), ["bin", "etc/ssl", "sbin/sh", "var"]);
    let paths: Vec<&str> = composed.files.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "etc/ssl/cert.pem",
            "var/empty",
            "etc/passwd",
            "etc/group",
            "etc/shadow",
            "root",
            "etc/nsswitch.conf"
        ]
    );
}

#[test]
fn a_field_wins_over_what_follows_from_another() {
    let composed = compose(
        &store(),
        r#""files":[{"path":"/etc/passwd","type":"file","content":"mine"}],"root":{"users":{}}"#,
    )
    .unwrap();
    let passwd: Vec<_> = (composed.files.iter())
        .filter(|file| file.path == "etc/passwd")
        .collect();
    assert_eq!(passwd.len(), 1);
    assert_eq!(passwd[0].content.as_deref(), Some("mine"));
}

#[test]
fn a_shadow_given_in_any_field_takes_passwords_over_a_base() {
    let base = crate::BaseTree {
        accounts: Some(crate::BaseAccounts {
            has_shadow: true,
            ..crate::BaseAccounts::default()
        }),
        ..crate::BaseTree::default()
    };
    let passwd = |root: &str, files: &str| {
        let spec = format!(
            r#"{{"schema":"nixply.image/1","files":[{files}],
                "root":{{"users":{{"joe":{{"uid":7,"password":"$y$hash"}}}}{root}}}}}"#
        );
        let spec = ImageSpec::from_json(spec.as_bytes()).unwrap();
        let root = store().root();
        let composed = compose_root(&spec, Path::new("/"), None, &root, Some(&base))?;
        let mut files = composed.files.into_iter();
        let passwd = files.find(|file| file.path == "etc/passwd").unwrap();
        assert_eq!(files.filter(|file| file.path == "etc/shadow").count(), 0);
        Ok::<_, RootError>(passwd.content.unwrap())
    };
    for (root, files) in [
        (r#","files":{"/etc/shadow":{"text":""}}"#, ""),
        (r#","links":{"/etc/shadow":"/run/shadow"}"#, ""),
        ("", r#"{"path":"/etc/shadow","type":"file","content":""}"#),
        (
            "",
            r#"{"path":"etc/shadow","type":"symlink","target":"/x"}"#,
        ),
    ] {
        let passwd = passwd(root, files).unwrap();
        assert!(passwd.contains("joe:x:7:7:"), "{passwd}");
    }
    for files in [
        "",
        r#"{"path":"etc/shadow","type":"directory"}"#,
        r#"{"path":"etc/shadow-","type":"file","content":""}"#,
    ] {
        let error = passwd("", files).unwrap_err();
        assert!(error.to_string().contains("no password can be given"));
    }
}

#[test]
fn files_that_cannot_stand_beside_contents_are_named() {
    let below = compose(
        &store(),
        r#""contents":["PATH"],"root":{"files":{"/bin/x":{"text":""}}}"#,
    );
    assert_eq!(
        below.unwrap_err().to_string(),
        format!(
            "root file `bin/x` lies below `/bin`, which is no directory in the image: it is a link, from `{A}/bin`"
        )
    );
    let hides = compose(
        &store(),
        r#""contents":["PATH"],"root":{"links":{"/etc/ssl":"x"}}"#,
    );
    assert_eq!(
        hides.unwrap_err().to_string(),
        format!("root file `etc/ssl` would hide what `{A}/etc/ssl` has below it")
    );
}

#[test]
fn links_lead_to_what_the_image_has() {
    let shell = |target: &str, closure: Option<&Closure>| {
        let spec = format!(r#"{{"schema":"nixply.image/1","root":{{"shell":"{target}"}}}}"#);
        let spec = ImageSpec::from_json(spec.as_bytes()).unwrap();
        compose_root(&spec, Path::new("/"), closure, &store().root(), None).map(drop)
    };
    shell(&format!("{A}/bin/sh"), None).unwrap();
    shell("/opt/sh", None).unwrap();
    // Not on this machine: nothing to look at.
    shell(&format!("{B}/bin/sh"), None).unwrap();
    assert_eq!(
        shell(&format!("{A}/bin/bash"), None)
            .unwrap_err()
            .to_string(),
        format!("root: `/bin/sh` shall lead to `{A}/bin/bash`, which does not exist")
    );
    let without = closure(&[B]);
    assert_eq!(
        shell(&format!("{A}/bin/sh"), Some(&without))
            .unwrap_err()
            .to_string(),
        format!("root: `/bin/sh` shall lead to `{A}/bin/sh`, which is not in the image's closure")
    );
}

#[test]
fn implied_directories_in_a_home_belong_to_its_user() {
    let store = store();
    store
        .file(&format!("{B}/home/joe/.config/tool/conf"), "")
        .directory(&format!("{B}/home/joe/.cache"));
    let json = r#""contents":["PATH"],"root":{"tmp":false,"nsswitch":false,
        "users":{"joe":{"uid":1000},
                 "ann":{"uid":1001,"home":"/home/joe/ann"},
                 "www":{"uid":1002,"home":"/srv/www","create_home":false}},
        "files":{"/home/joe/.ssh/keys/a":{"text":""},"/home/joe/ann/x/y":{"text":""},"/home/x":{"text":""},
                 "/srv/www/html/index.html":{"text":""}},
        "directories":{"/home/joe/.ssh":{"mode":"0700"}}}"#
        .replace("PATH", B);
    let composed = compose(&store, &json).unwrap();
    let mut directories: Vec<String> = (composed.files.iter())
        .filter(|file| file.kind == RootFileType::Directory && file.path != "root")
        .map(|file| {
            format!(
                "{} {} {}:{}",
                file.path,
                file.mode.as_deref().unwrap(),
                file.uid,
                file.gid
            )
        })
        .collect();
    directories.sort();
    assert_eq!(
        directories,
        [
            "home/joe 0755 1000:1000",
            "home/joe/.cache 0755 1000:1000",
            "home/joe/.config 0755 1000:1000",
            "home/joe/.config/tool 0755 1000:1000",
            // Listed, so it belongs to whom the list says.
            "home/joe/.ssh 0700 0:0",
            "home/joe/.ssh/keys 0755 1000:1000",
            "home/joe/ann 0755 1001:1001",
            "home/joe/ann/x 0755 1001:1001",
        ]
    );
    assert_eq!(linked(&composed), ["home/joe/.config/tool/conf"]);
}
