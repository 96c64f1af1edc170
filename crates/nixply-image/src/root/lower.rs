//! From a `root` to root files.

use super::accounts::Accounts;
use super::error::RootSpecError;
use super::os_release::os_release;
use super::owner::absolute;
use super::spec::{DirectorySpec, FileSpec, RootSpec};
use crate::{BaseTree, RootFileSpec, RootFileType};
use std::collections::BTreeMap;

/// Where programs look for CA certificates.
const CA_PLACES: [&str; 4] = [
    // Debian, Ubuntu, Arch; most programs, Go and Rust's among them.
    "etc/ssl/certs/ca-certificates.crt",
    // NixOS.
    "etc/ssl/certs/ca-bundle.crt",
    // Fedora, CentOS.
    "etc/pki/tls/certs/ca-bundle.crt",
    // OpenSSL's own default below /etc/ssl; Alpine.
    "etc/ssl/cert.pem",
];

/// Names from files, hosts from files and then DNS: without it, glibc asks DNS first.
const NSSWITCH: &str = "\
passwd:    files
group:     files
shadow:    files
hosts:     files dns
networks:  files
protocols: files
services:  files
";

/// What a `root` comes down to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lowered {
    /// What was asked for by its path.
    pub(crate) explicit: Vec<RootFileSpec>,
    /// What follows from something else; gives way to what was asked for by its path.
    pub(crate) derived: Vec<RootFileSpec>,
    /// The users and groups.
    pub(crate) accounts: Accounts,
}

/// Says what a `root` comes down to, beside the files that are listed elsewhere and over what a base holds.
pub(crate) fn lower(
    spec: &RootSpec,
    files: &[RootFileSpec],
    base: Option<&BaseTree>,
) -> Result<Lowered, RootSpecError> {
    let accounts = Accounts::new(spec, has_shadow(spec, files), base)?;
    let mut explicit: BTreeMap<String, (&'static str, RootFileSpec)> = BTreeMap::new();
    let mut add = |what: &'static str, file: RootFileSpec| {
        let path = file.path.clone();
        match explicit.insert(path.clone(), (what, file)) {
            None => Ok(()),
            Some((first, _)) => Err(RootSpecError::Twice {
                path: format!("/{path}"),
                first,
                second: what,
            }),
        }
    };
    for (path, file) in &spec.files {
        add("a file", lower_file(path, file, &accounts)?)?;
    }
    for (path, directory) in &spec.directories {
        add("a directory", lower_directory(path, directory, &accounts)?)?;
    }
    for (path, target) in &spec.links {
        let path = relative(&format!("link `{path}`"), path)?;
        add("a link", RootFileSpec::symlink(path, target.clone()))?;
    }
    let derived = derived(spec, &accounts, base)?
        .into_iter()
        .filter(|file| !explicit.contains_key(&file.path))
        .collect();
    Ok(Lowered {
        explicit: explicit.into_values().map(|(_, file)| file).collect(),
        derived,
        accounts,
    })
}

/// Whether an `/etc/shadow` is listed, which is then all that is said of passwords.
fn has_shadow(spec: &RootSpec, files: &[RootFileSpec]) -> bool {
    let in_root = spec.files.keys().chain(spec.links.keys());
    let listed = files
        .iter()
        .filter(|file| file.kind != RootFileType::Directory);
    in_root
        .chain(listed.map(|file| &file.path))
        .any(|path| path.trim_matches('/') == "etc/shadow")
}

fn lower_file(
    path: &str,
    file: &FileSpec,
    accounts: &Accounts,
) -> Result<RootFileSpec, RootSpecError> {
    let wanted_by = format!("file `{path}`");
    if file.text.is_some() == file.source.is_some() {
        return Err(RootSpecError::Contents {
            path: path.to_owned(),
        });
    }
    let (uid, gid) = file.owner().ids(&wanted_by, accounts)?;
    Ok(RootFileSpec {
        mode: file.mode.clone(),
        uid: uid.unwrap_or(0),
        gid: gid.unwrap_or(0),
        content: file.text.clone(),
        source: file.source.as_ref().map(Into::into),
        capabilities: file.capabilities.clone(),
        ..RootFileSpec::new(relative(&wanted_by, path)?, RootFileType::File)
    })
}

fn lower_directory(
    path: &str,
    directory: &DirectorySpec,
    accounts: &Accounts,
) -> Result<RootFileSpec, RootSpecError> {
    let wanted_by = format!("directory `{path}`");
    let (uid, gid) = directory.owner().ids(&wanted_by, accounts)?;
    Ok(RootFileSpec {
        mode: directory.mode.clone(),
        uid: uid.unwrap_or(0),
        gid: gid.unwrap_or(0),
        ..RootFileSpec::new(relative(&wanted_by, path)?, RootFileType::Directory)
    })
}

fn derived(
    spec: &RootSpec,
    accounts: &Accounts,
    base: Option<&BaseTree>,
) -> Result<Vec<RootFileSpec>, RootSpecError> {
    let mut files = Vec::new();
    let has_accounts = spec.users.is_some() || spec.groups.is_some();
    if has_accounts {
        files.push(RootFileSpec::text("etc/passwd", accounts.passwd()));
        files.push(RootFileSpec::text("etc/group", accounts.group()));
        let shadow = accounts.shadow();
        if !shadow.is_empty() && !accounts.keeps_shadow() {
            files.push(RootFileSpec {
                mode: Some("0640".to_owned()),
                gid: accounts.gid("shadow").unwrap_or(0),
                ..RootFileSpec::text("etc/shadow", shadow)
            });
        }
        for user in accounts.users().iter().filter(|user| user.creates_home) {
            let mode = if user.uid == 0 { "0700" } else { "0755" };
            let Some(home) = user.home.strip_prefix('/').filter(|home| !home.is_empty()) else {
                continue;
            };
            files.push(RootFileSpec::directory(
                home.to_owned(),
                mode,
                user.uid,
                user.gid,
            ));
        }
    }
    for place in ["tmp", "var/tmp"] {
        let stands = || base.is_some_and(|tree| tree.unusual_directory_at(place).is_some());
        if spec.tmp.unwrap_or_else(|| !stands()) {
            files.push(RootFileSpec::directory(place.to_owned(), "1777", 0, 0));
        }
    }
    let needs_nsswitch = has_accounts && !accounts.has_nsswitch();
    if spec.nsswitch.unwrap_or(needs_nsswitch) {
        files.push(RootFileSpec::text("etc/nsswitch.conf", NSSWITCH.to_owned()));
    }
    if let Some(fields) = &spec.os_release {
        files.push(RootFileSpec::text("etc/os-release", os_release(fields)?));
    }
    if let Some(bundle) = &spec.ca_certificates {
        absolute("ca_certificates", bundle)?;
        files.extend(CA_PLACES.map(|place| RootFileSpec::symlink(place.into(), bundle.clone())));
    }
    for (field, program, place) in [
        ("shell", &spec.shell, "bin/sh"),
        ("env", &spec.env, "usr/bin/env"),
    ] {
        if let Some(program) = program {
            absolute(field, program)?;
            files.push(RootFileSpec::symlink(place.to_owned(), program.clone()));
        }
    }
    Ok(files)
}

/// A path from the root, without slashes at its ends.
fn relative(wanted_by: &str, path: &str) -> Result<String, RootSpecError> {
    absolute(wanted_by, path)?;
    let inner = path.trim_matches('/');
    if inner.is_empty() {
        return Err(RootSpecError::Path {
            wanted_by: wanted_by.to_owned(),
            path: path.to_owned(),
        });
    }
    Ok(inner.to_owned())
}
