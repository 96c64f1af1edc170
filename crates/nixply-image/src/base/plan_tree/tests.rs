use super::*;
use crate::linking::tests::{A, B, Store, closure};
use crate::linking::{LinkTree, link_contents};
use crate::planning::tests::options;
use crate::{OnCollision, PlanOptions, plan_image};
use nixply_layer::{read_entries, write_layer_tar};
use nixply_oci::MediaType;

/// Plans an image of the store paths `A` and `B`, of which the root has links to what `contents` have, and of root files.
fn plan(store: &Store, contents: &[&str], files: Vec<RootFileSpec>) -> Plan {
    let contents: Vec<String> = contents.iter().map(|path| (*path).to_owned()).collect();
    let linked = link_contents(&contents, OnCollision::Error, &store.root(), |_| true);
    let options = PlanOptions {
        root_files: files,
        contents: linked.as_ref().map(LinkTree::records).unwrap(),
        store: store.root(),
        ..options()
    };
    plan_image(Some(&closure(&[A, B])), options).unwrap()
}

/// The tree of the same image once its layers are made.
fn tree_of_made(plan: &Plan, store: &Store) -> BaseTree {
    let mut reader = TreeReader::new(plan.store_dir().unwrap());
    for spec in plan.layer_specs().unwrap() {
        let mut tar = Vec::new();
        write_layer_tar(&spec.unwrap(), &store.root(), &mut tar).unwrap();
        let tar = &mut tar.as_slice();
        let wants_text = TreeReader::wants_text;
        let mut add = |entry| reader.add(entry);
        read_entries(tar, &MediaType::OciLayerTar, wants_text, &mut add).unwrap();
        reader.end_layer();
    }
    reader.finish()
}

#[test]
fn a_plan_is_the_base_that_its_image_is() {
    let store = Store::new();
    store
        .program(&format!("{A}/usr/bin/sh"), "s")
        .file(&format!("{A}/etc/ssl/certs/ca.crt"), "c")
        .link(&format!("{A}/etc/pki"), "ssl/certs")
        .file(&format!("{A}/etc/passwd"), "root:x:0:0::/root:/bin/sh\n")
        .directory(&format!("{A}/var/empty"))
        .program(&format!("{B}/bin/b"), "b")
        .file(&format!("{B}/lib/b/x"), "x");
    let files = || {
        let link =
            |path: &str, target: &str| RootFileSpec::symlink(path.to_owned(), target.to_owned());
        vec![
            link("bin", "usr/bin"),
            link("lib", &format!("{B}/lib")),
            link("certs", "etc/ssl/certs"),
            link("sh", "usr/bin/sh"),
            RootFileSpec::directory("etc/ssl".to_owned(), "0750", 1, 2),
        ]
    };
    let plan = plan(&store, &[A], files());
    let found = tree_of(&plan, Some(&store.root())).unwrap().unwrap();
    assert!(found.is_directory("usr/bin"));
    assert_eq!(found.links["bin"], "usr/bin");
    assert!(!found.links.contains_key("sh"));
    assert_eq!(found.directories["etc/ssl"].mode, "0750");
    assert_eq!(found, tree_of_made(&plan, &store));
}
