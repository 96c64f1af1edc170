//! Every example of `docs/root-files.md` is an image specification that can be put together, over a store that has what it
//! names.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops where something is not as expected"
)]

use nixply_image::{ImageSpec, compose_root};
use nixply_layer::StoreRoot;
use nixply_store::{Closure, NarHash, PathInfo, StoreDir};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// What stands for `…` in a store path.
const HASH: &str = "00000000000000000000000000000000";

const PROGRAMS: [(&str, &str); 6] = [
    ("bash", "bin/bash"),
    ("coreutils", "bin/env"),
    ("busybox", "bin/env"),
    ("cacert", "etc/ssl/certs/ca-bundle.crt"),
    ("serve", "bin/serve"),
    ("sudo", "bin/sudo"),
];

fn examples() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/root-files.md");
    let text = fs::read_to_string(path).unwrap();
    let blocks = text.split("```json\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap().replace('…', HASH))
        .collect()
}

#[test]
fn the_examples_can_be_put_together() {
    let dir = tempfile::tempdir().unwrap();
    let mut records = Vec::new();
    for (name, program) in PROGRAMS {
        let base_name = format!("{HASH}-{name}");
        let file = dir.path().join(&base_name).join(program);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, name).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o555)).unwrap();
        let info = PathInfo {
            path: StoreDir::default()
                .parse(&format!("/nix/store/{base_name}"))
                .unwrap(),
            nar_hash: NarHash::from_bytes([0; 32]),
            nar_size_bytes: 1,
            ca: None,
            deriver: None,
            signatures: Vec::new(),
            registration_time_secs: None,
        };
        records.push((info, Vec::new()));
    }
    let closure = Closure::new(StoreDir::default(), records).unwrap();
    let store = StoreRoot::new(StoreDir::default(), dir.path().to_owned());
    let examples = examples();
    assert_eq!(examples.len(), 5);
    let composed: Vec<_> = examples
        .iter()
        .map(|example| {
            let spec = ImageSpec::from_json(example.as_bytes()).unwrap();
            compose_root(&spec, Path::new("/"), Some(&closure), &store, None).unwrap()
        })
        .collect();
    let mode = |idx: usize, path: &str| {
        let mut files = composed[idx].files.iter();
        let file = files.find(|file| file.path == path).unwrap();
        let file = file.to_layer().unwrap();
        (file.mode, file.uid, file.gid)
    };
    assert_eq!(mode(0, "etc/sudoers.d/vscode"), (0o440, 0, 0));
    assert_eq!(mode(0, "workspace"), (0o755, 1000, 1000));
    assert_eq!(composed[1].contents.len(), 1, "the first wins");
    assert_eq!(mode(2, "app/cache"), (0o2770, 1000, 80));
    assert_eq!(mode(3, "bin/sudo"), (0o4755, 0, 10));
    assert_eq!(mode(4, "srv"), (0o750, 1000, 1000));
}
