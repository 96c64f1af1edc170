//! Finished tars whose entries stand elsewhere than they say, since what is below them has links and directories of its own.
#![allow(clippy::unwrap_used, reason = "a test whose set-up fails has failed")]

mod common;

use common::{SyntheticStore, pool};
use nixply_layer::{
    Compression, FinishedTar, LayerContents, LayerFormat, LayerSpec, PlacedDirectory, TarPlacement,
    hash_placed, write_layer,
};
use nixply_oci::DiffId;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read as _};
use tar::EntryType;

const NAME: &str = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-x-layer/layer.tar";

/// What is below: `bin -> usr/bin`, `sbin -> usr/sbin`, and `root` for root alone.
fn placement() -> TarPlacement {
    let moved = [("bin", "usr/bin"), ("sbin", "usr/sbin")];
    let root = PlacedDirectory {
        mode: 0o700,
        uid: 0,
        gid: 3_000_000,
    };
    TarPlacement {
        moved: moved.map(|(a, b)| (a.to_owned(), b.to_owned())).into(),
        directories: [("root".to_owned(), root)].into(),
        targets: [("bin/there".to_owned(), "/share/there".to_owned())].into(),
    }
}

/// Builds a tar whose headers are of one kind: GNU's, as scripts leave it, or those of POSIX.
struct Builder {
    tar: tar::Builder<Vec<u8>>,
    is_gnu: bool,
}

impl Builder {
    fn new(is_gnu: bool) -> Self {
        Self {
            tar: tar::Builder::new(Vec::new()),
            is_gnu,
        }
    }

    fn header(&self, kind: EntryType, mode: u32) -> tar::Header {
        let mut header = if self.is_gnu {
            tar::Header::new_gnu()
        } else {
            tar::Header::new_ustar()
        };
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        header
    }

    fn directory(&mut self, name: &str, mode: u32) {
        let mut header = self.header(EntryType::Directory, mode);
        set_name(&mut header, name);
        self.tar.append(&header, io::empty()).unwrap();
    }

    fn file(&mut self, name: &str, content: &str) {
        let mut header = self.header(EntryType::Regular, 0o4755);
        header.set_size(content.len() as u64);
        if name.len() > 100 {
            self.tar
                .append_data(&mut header, name, content.as_bytes())
                .unwrap();
        } else {
            set_name(&mut header, name);
            self.tar.append(&header, content.as_bytes()).unwrap();
        }
    }

    fn link(&mut self, kind: EntryType, name: &str, target: &str) {
        let mut header = self.header(kind, 0o777);
        self.tar.append_link(&mut header, name, target).unwrap();
    }

    fn finish(self) -> Vec<u8> {
        self.tar.into_inner().unwrap()
    }
}

/// As it is written, with the dots at its begin.
fn set_name(header: &mut tar::Header, name: &str) {
    let field = &mut header.as_old_mut().name;
    field.fill(0);
    field[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
}

fn placed(tar: &[u8], placement: TarPlacement) -> Vec<u8> {
    let store = SyntheticStore::new();
    let relative = NAME.strip_prefix("/nix/store/").unwrap();
    fs::create_dir(store.path(relative).parent().unwrap()).unwrap();
    fs::write(store.path(relative), tar).unwrap();
    let (diff_id, size_bytes) = hash_placed(tar, &placement).unwrap();
    let spec = LayerSpec {
        contents: LayerContents::Tar(FinishedTar {
            path: NAME.into(),
            diff_id,
            size_bytes,
            placement,
        }),
        format: LayerFormat::Nixply,
        compression: Compression::None,
    };
    let mut out = Vec::new();
    let record = write_layer(&spec, &store.root(), &pool(1), &mut out).unwrap();
    assert_eq!((record.diff_id, record.size_bytes), (diff_id, size_bytes));
    assert_eq!(DiffId::of(&out), diff_id);
    out
}

/// `NAME MODE OWNER -> TARGET: CONTENT` of each entry, as the `tar` crate reads them.
fn list(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let header = entry.header();
        let mut line = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let (mode, uid) = (header.mode().unwrap(), header.uid().unwrap());
        let mut gid = header.gid().unwrap();
        if let Ok(Some(records)) = entry.pax_extensions() {
            let number = |record: tar::PaxExtension<'_>| {
                (record.key() == Ok("gid")).then(|| record.value().unwrap().parse().unwrap())
            };
            let mut found = records.filter_map(|record| number(record.unwrap()));
            gid = found.next().unwrap_or(gid);
        }
        write!(line, " {mode:o} {uid}:{gid}").unwrap();
        if let Some(target) = entry.link_name_bytes() {
            write!(line, " -> {}", String::from_utf8_lossy(&target)).unwrap();
        }
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        if !content.is_empty() {
            write!(line, ": {content}").unwrap();
        }
        line
    });
    entries.collect()
}

#[test]
fn entries_go_through_the_links_below() {
    let long = format!("./bin/{}", "long".repeat(30));
    for is_gnu in [true, false] {
        let mut tar = Builder::new(is_gnu);
        tar.directory("./", 0o755);
        tar.directory("./bin/", 0o755);
        tar.file("./bin/a", "a");
        tar.link(EntryType::Link, "./bin/same", "./bin/a");
        tar.link(EntryType::Symlink, "./bin/b", "a");
        if is_gnu {
            tar.file(&long, "long");
            tar.link(EntryType::Symlink, "./bin/far", &long);
        }
        tar.directory("./etc/", 0o755);
        tar.file("./etc/x", "x");
        tar.directory("./sbin/", 0o711);
        tar.directory("./usr/", 0o755);
        tar.directory("./usr/bin/", 0o755);
        tar.file("./usr/bin/c", "c");
        let out = list(&placed(&tar.finish(), placement()));
        let mut expected = vec![
            "./ 755 0:0".to_owned(),
            "usr/ 755 0:0".to_owned(),
            "./usr/bin/ 755 0:0".to_owned(),
            "./usr/bin/a 4755 0:0: a".to_owned(),
            "./usr/bin/same 777 0:0 -> usr/bin/a".to_owned(),
            "./usr/bin/b 777 0:0 -> a".to_owned(),
        ];
        if is_gnu {
            let name = long.replace("./bin", "./usr/bin");
            expected.push(format!("{name} 4755 0:0: long"));
            expected.push(format!("./usr/bin/far 777 0:0 -> {long}"));
        }
        expected.extend(
            [
                "./etc/ 755 0:0",
                "./etc/x 4755 0:0: x",
                "./usr/sbin/ 711 0:0",
                "./usr/bin/c 4755 0:0: c",
            ]
            .map(str::to_owned),
        );
        // The `tar` crate writes a name without the dots into GNU's long ones.
        let plain = |lines: &[String]| lines.join("\n").replace("./", "");
        assert_eq!(plain(&out), plain(&expected), "{is_gnu}");
    }
}

#[test]
fn directories_that_say_nothing_stay_as_they_are_below() {
    let mut tar = Builder::new(true);
    tar.directory("root/", 0o755);
    tar.file("root/x", "x");
    let out = list(&placed(&tar.finish(), placement()));
    assert_eq!(out, ["root/ 700 0:3000000", "root/x 4755 0:0: x"]);
    // One that is not there comes before what needs it.
    let mut tar = Builder::new(true);
    tar.file("root/x", "x");
    let out = list(&placed(&tar.finish(), placement()));
    assert_eq!(out, ["root/ 700 0:3000000", "root/x 4755 0:0: x"]);
    // One that says something is what it says.
    let mut tar = Builder::new(true);
    tar.directory("root/", 0o711);
    let out = list(&placed(&tar.finish(), placement()));
    assert_eq!(out, ["root/ 711 0:0"]);
}

#[test]
fn directories_without_a_type_are_told_by_their_slash() {
    // As `tar --format=v7` writes them, with and without a digit.
    for kind in [0, b'0'] {
        let mut tar = Builder::new(false);
        tar.directory("root/", 0o755);
        let mut tar = tar.finish();
        tar[156] = kind;
        let mut header = tar::Header::from_byte_slice(&tar[..512]).clone();
        header.set_cksum();
        tar[..512].copy_from_slice(header.as_bytes());
        let out = list(&placed(&tar, placement()));
        assert_eq!(out, ["root/ 700 0:3000000"]);
    }
}

#[test]
fn a_directory_that_comes_to_be_the_root_says_nothing_of_it() {
    let mut tar = Builder::new(true);
    tar.directory("./top/", 0o700);
    tar.file("./top/a", "a");
    let placement = TarPlacement {
        moved: [("top".to_owned(), String::new())].into(),
        ..TarPlacement::default()
    };
    let out = list(&placed(&tar.finish(), placement));
    assert_eq!(out, ["./a 4755 0:0: a"]);
}

#[test]
fn links_that_would_lead_elsewhere_say_something_else() {
    let mut tar = Builder::new(true);
    tar.link(EntryType::Symlink, "bin/there", "../share/there");
    tar.link(EntryType::Symlink, "bin/here", "there");
    tar.file("./etc/there", "x");
    let out = list(&placed(&tar.finish(), placement()));
    assert_eq!(
        out,
        [
            "usr/ 755 0:0",
            "usr/bin/ 755 0:0",
            "usr/bin/there 777 0:0 -> /share/there",
            "usr/bin/here 777 0:0 -> there",
            "./etc/there 4755 0:0: x"
        ]
    );
}

#[test]
fn what_nothing_changes_of_keeps_its_bytes() {
    for is_gnu in [true, false] {
        let mut tar = Builder::new(is_gnu);
        tar.directory("./etc/", 0o755);
        tar.tar
            .append_pax_extensions([("SCHILY.xattr.user.x", &b"y"[..])])
            .unwrap();
        tar.file("./etc/x", "x");
        if is_gnu {
            tar.file(&"long/".repeat(30), "long");
        }
        let mut tar = tar.finish();
        // As GNU tar fills its last record.
        tar.resize(tar.len().next_multiple_of(10_240), 0);
        assert_eq!(placed(&tar, placement()), tar);
    }
}

#[test]
fn records_of_an_entry_that_moves_are_kept() {
    let mut tar = Builder::new(false);
    tar.tar
        .append_pax_extensions([
            ("path", "bin/caf\u{e9}".as_bytes()),
            ("SCHILY.xattr.user.x", &b"y"[..]),
        ])
        .unwrap();
    tar.file("bin/caf", "x");
    let out = placed(&tar.finish(), placement());
    let mut archive = tar::Archive::new(&out[..]);
    let mut entry = archive.entries().unwrap().nth(2).unwrap().unwrap();
    assert_eq!(*entry.path_bytes(), *"usr/bin/caf\u{e9}".as_bytes());
    let records = entry.pax_extensions().unwrap().unwrap();
    let records: Vec<String> = records
        .map(|record| record.unwrap().key().unwrap().to_owned())
        .collect();
    assert_eq!(records, ["SCHILY.xattr.user.x", "path"]);
}

#[test]
fn what_cannot_be_understood_is_an_error() {
    let refused = |tar: &[u8]| hash_placed(tar, &placement()).unwrap_err().to_string();
    let mut tar = Builder::new(true);
    tar.link(EntryType::GNUSparse, "bin/x", "y");
    assert_eq!(
        refused(&tar.finish()),
        "GNU tar's sparse files are not known here"
    );
    let mut tar = Builder::new(false);
    let value = "y".repeat(1_000_000);
    for _ in 0..5 {
        let records = [("comment", value.as_bytes())];
        tar.tar.append_pax_extensions(records).unwrap();
    }
    tar.file("bin/x", "x");
    assert_eq!(
        refused(&tar.finish()),
        "records of an entry that are too long together"
    );
    let mut tar = Builder::new(true);
    tar.file("bin/x", &"x".repeat(2000));
    assert_eq!(
        refused(&tar.finish()[..1536]),
        "the tar ends within an entry"
    );
    assert_eq!(
        refused(&[1; 512]),
        "a block without the checksum of a header"
    );
}
