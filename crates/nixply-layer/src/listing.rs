//! Which store paths a stored layer holds, by the names in its tar.

use crate::compare::CompareError;
use crate::entries::read_entries;
use nixply_oci::MediaType;
use nixply_store::{StoreDir, StorePath};
use std::collections::BTreeSet;
use std::io::Read;

/// Reads a stored layer to its end for the store paths in it, in byte order.
pub fn read_store_paths(
    stored: &mut dyn Read,
    media_type: &MediaType,
    store_dir: &StoreDir,
) -> Result<Vec<StorePath>, CompareError> {
    let mut found = BTreeSet::new();
    read_entries(stored, media_type, |_| false, &mut |entry| {
        found.extend(store_path_of(&entry.name, store_dir));
    })?;
    Ok(found.into_iter().collect())
}

/// The store path that a member of a tar is or lies in. Members may stand as `nix/…`, `/nix/…` or `./nix/…`.
fn store_path_of(name: &[u8], store_dir: &StoreDir) -> Option<StorePath> {
    let name = std::str::from_utf8(name).ok()?.trim_end_matches('\0');
    let name = name.strip_prefix("./").unwrap_or(name);
    let relative_store_dir = store_dir.as_str().trim_start_matches('/');
    let inside = name
        .trim_start_matches('/')
        .strip_prefix(relative_store_dir)?
        .strip_prefix('/')?;
    StorePath::new(inside.split('/').next()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &str = "1111111111111111111111111111111a-app-1.0";
    const LIB: &str = "2222222222222222222222222222222b-lib-2";

    fn tar_of(names: &[&str]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for name in names {
            let mut header = tar::Header::new_gnu();
            header.set_size(3);
            header.set_mode(0o444);
            builder.append_data(&mut header, name, &b"abc"[..]).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn names(bytes: &[u8]) -> Vec<String> {
        let found = read_store_paths(
            &mut &bytes[..],
            &MediaType::OciLayerTar,
            &StoreDir::default(),
        );
        found.unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn store_paths_are_found_once_and_other_files_are_not() {
        let tar = tar_of(&[
            &format!("nix/store/{LIB}"),
            &format!("./nix/store/{APP}/bin/app"),
            &format!("nix/store/{APP}/lib/{}", "long".repeat(60)),
            "nix/store/.links",
            "etc/passwd",
            "nix/storex/2222222222222222222222222222222b-x",
        ]);
        assert_eq!(names(&tar), [APP, LIB]);
    }

    #[test]
    fn a_long_name_belongs_to_the_entry_behind_it() {
        let long = format!("3333333333333333333333333333333c-{}", "n".repeat(150));
        let tar = tar_of(&[&format!("nix/store/{long}"), &format!("nix/store/{LIB}")]);
        assert_eq!(names(&tar), [LIB.to_owned(), long]);
    }

    #[test]
    fn a_layer_that_ends_early_is_an_error() {
        let tar = tar_of(&[&format!("nix/store/{APP}")]);
        let found = read_store_paths(
            &mut &tar[..514],
            &MediaType::OciLayerTar,
            &StoreDir::default(),
        );
        assert!(matches!(found, Err(CompareError::Stored(_))), "{found:?}");
    }
}
