//! Golden bytes: every kind of entry in both formats, as a listing of its header fields and the hash of the whole tar.
//!
//! `INSTA_UPDATE=always cargo test -p nixply-layer --test golden` writes the listings anew; a change of any of them is a new
//! format version (`docs/format.md`, "What raises the version").
#![allow(clippy::unwrap_used, reason = "a test whose set-up fails has failed")]

mod common;

use common::{
    docker_tools, program_with_capabilities, root_files, root_spec, store_spec, tar,
    with_permissions,
};
use nixply_layer::{LayerFormat, StoreRoot};
use nixply_oci::DiffId;
use nixply_store::StoreDir;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

const BASE_NAME: &str = "0a3k1cq3x0kz4hkq5fy0qvk1vy1n2q3d-x";

/// The fields of a ustar block: name, first byte, one behind the last.
const FIELDS: [(&str, usize, usize); 15] = [
    ("name", 0, 100),
    ("mode", 100, 108),
    ("uid", 108, 116),
    ("gid", 116, 124),
    ("size", 124, 136),
    ("mtime", 136, 148),
    ("chksum", 148, 156),
    ("typeflag", 156, 157),
    ("linkname", 157, 257),
    ("magic", 257, 263),
    ("version", 263, 265),
    ("uname", 265, 297),
    ("gname", 297, 329),
    ("devices", 329, 345),
    ("prefix", 345, 512),
];

/// Every field that is not all NUL, with all of its bytes up to trailing NULs but one; contents; the hash of it all.
fn listing(tar: &[u8]) -> String {
    let mut text = String::new();
    let mut at = 0;
    while tar[at..].iter().any(|&byte| byte != 0) {
        let block = &tar[at..at + 512];
        writeln!(text, "{at:#07x}").unwrap();
        for (field, from, to) in FIELDS {
            let bytes = &block[from..to];
            let used = bytes
                .iter()
                .rposition(|&b| b != 0)
                .map_or(0, |last| last + 1);
            if used > 0 {
                let shown = &bytes[..(used + 1).min(bytes.len())];
                writeln!(text, "  {field:<8} \"{}\"", shown.escape_ascii()).unwrap();
            }
        }
        let octal = std::str::from_utf8(&block[124..135]).unwrap();
        let size = usize::from_str_radix(octal, 8).unwrap();
        at += 512;
        if size > 0 {
            let contents = &tar[at..at + size];
            writeln!(text, "  contents \"{}\"", contents.escape_ascii()).unwrap();
            at += size.next_multiple_of(512);
        }
    }
    writeln!(text, "{at:#07x}\n  {} zero bytes", tar.len() - at).unwrap();
    writeln!(text, "{}", DiffId::of(tar)).unwrap();
    text
}

fn check(name: &str, text: &str) {
    insta::with_settings!({
        snapshot_path => common::fixtures(),
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { insta::assert_snapshot!(name, text) });
}

/// Lists a store path that `make` creates, in both formats.
fn check_store_path(name: &str, make: impl Fn(&Path)) {
    let directory = tempfile::tempdir().unwrap();
    make(&directory.path().join(BASE_NAME));
    let store = StoreRoot::new(StoreDir::default(), directory.path().to_owned());
    let list = |format| {
        let spec = store_spec(&[BASE_NAME.to_owned()], format);
        listing(&tar(&spec, &store).unwrap())
    };
    check(
        name,
        &format!(
            "nixply, version 1\n\n{}\ndockerTools\n\n{}",
            list(LayerFormat::Nixply),
            list(docker_tools())
        ),
    );
}

fn file(path: &Path, contents: &[u8], mode: u32) {
    fs::write(path, contents).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn directory() {
    check_store_path("directory", |path| fs::create_dir(path).unwrap());
}

#[test]
fn store_path_that_is_a_file() {
    check_store_path("file", |path| file(path, b"contents\n", 0o600));
}

#[test]
fn executable() {
    check_store_path("executable", |path| file(path, b"#!/bin/sh\n", 0o700));
}

#[test]
fn empty_file() {
    check_store_path("empty_file", |path| file(path, b"", 0o644));
}

#[test]
fn store_path_that_is_a_symlink() {
    check_store_path("symlink", |path| symlink("../some/where", path).unwrap());
}

#[test]
fn name_of_101_bytes() {
    check_store_path("long_name", |path| {
        fs::create_dir(path).unwrap();
        // `nix/store/` and `/` around the base name.
        let long = "n".repeat(101 - 11 - BASE_NAME.len());
        file(&path.join(long), b"", 0o644);
    });
}

#[test]
fn link_of_101_bytes() {
    check_store_path("long_link", |path| symlink("t".repeat(101), path).unwrap());
}

#[test]
fn name_outside_ascii() {
    check_store_path("non_ascii", |path| {
        fs::create_dir(path).unwrap();
        file(&path.join("naïve-日本-😀"), b"", 0o644);
        symlink("zîel", path.join("link")).unwrap();
    });
}

#[test]
fn name_outside_utf8() {
    check_store_path("non_utf8", |path| {
        fs::create_dir(path).unwrap();
        file(&path.join(OsStr::from_bytes(b"caf\xe9")), b"", 0o644);
        file(
            &path.join("\u{fffd}"),
            b"sorts last in Python, not here\n",
            0o644,
        );
        file(&path.join(OsStr::from_bytes(b"\xff")), b"", 0o644);
    });
}

#[test]
fn root_files_with_setuid_and_owners() {
    let bytes = tar(&root_spec(root_files()), &StoreRoot::default()).unwrap();
    check("root_files", &listing(&bytes));
}

#[test]
fn empty_layers() {
    let text = [LayerFormat::Nixply, docker_tools()]
        .map(|format| listing(&tar(&store_spec(&[], format), &StoreRoot::default()).unwrap()));
    let root = listing(&tar(&root_spec(Vec::new()), &StoreRoot::default()).unwrap());
    check(
        "empty_layers",
        &format!(
            "nixply, version 1, no store path\n\n{}\ndockerTools, no store path\n\n{}\nnixply, version 1, no root file\n\n{root}",
            text[0], text[1]
        ),
    );
}

#[test]
fn capabilities_stand_in_a_pax_record() {
    let mut long = program_with_capabilities();
    long.path = format!("bin/{}", "é".repeat(60));
    long.capabilities = Some("all=ep cap_sys_admin-ep".parse().unwrap());
    let spec = root_spec(vec![program_with_capabilities(), long]);
    let bytes = tar(&spec, &StoreRoot::default()).unwrap();
    check("capabilities", &listing(&bytes));
}

#[test]
fn entries_of_a_store_path_with_permissions() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(BASE_NAME);
    fs::create_dir_all(path.join("bin")).unwrap();
    file(&path.join("bin/sudo"), b"#!", 0o755);
    file(&path.join("bin/su"), b"#!", 0o755);
    symlink("sudo", path.join("bin/sudoedit")).unwrap();
    let store = StoreRoot::new(StoreDir::default(), directory.path().to_owned());
    let list = |format| {
        let spec = with_permissions(
            store_spec(&[BASE_NAME.to_owned()], format),
            &[
                ("bin/sudo", 0o4755, 0, 10),
                ("", 0o1777, 1000, 100),
                ("bin/sudoedit", 0o4755, 1000, 100),
            ],
        );
        listing(&tar(&spec, &store).unwrap())
    };
    check(
        "permissions",
        &format!(
            "nixply, version 1\n\n{}\ndockerTools\n\n{}",
            list(LayerFormat::Nixply),
            list(docker_tools())
        ),
    );
}
