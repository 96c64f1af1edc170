//! Pure crates do no I/O and know no clock, thread or process; no library reads the environment.
//!
//! The source is read as the compiler's tokens, so comments and texts do not count. Code under `#[cfg(test)]` may do
//! anything.

use super::Problems;
use anyhow::{Context, Result};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Crates whose results depend on nothing but their arguments.
const PURE: &[&str] = &[
    "nixply-database",
    "nixply-oci",
    "nixply-pack",
    "nixply-reuse",
    "nixply-store",
];
/// Crates that a front end other than our command could use.
const LIBRARIES: &[&str] = &[
    "nixply-cache",
    "nixply-database",
    "nixply-image",
    "nixply-layer",
    "nixply-layout",
    "nixply-oci",
    "nixply-pack",
    "nixply-registry",
    "nixply-reuse",
    "nixply-store",
];

const IMPURE: &[&str] = &[
    "std::fs",
    "std::env",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time",
    "rayon",
    "tokio",
];
/// Addresses are values; the sockets are what `std::net` is refused for.
const PURE_ALL_THE_SAME: &[&str] = &[
    "std::net::IpAddr",
    "std::net::Ipv4Addr",
    "std::net::Ipv6Addr",
];

/// Reads the sources of all crates below `root`.
pub(super) fn check(root: &Path) -> Result<Problems> {
    let mut problems = Problems::new();
    for (crates, refused) in [(PURE, IMPURE), (LIBRARIES, &["std::env"])] {
        for name in crates {
            let source_dir = root.join("crates").join(name).join("src");
            for file in shipped_files(&source_dir)? {
                for path in refused_paths(&file.source, refused)? {
                    problems.push(format!(
                        "{}: {name} may not use {path}",
                        file.path.display()
                    ));
                }
            }
        }
    }
    problems.sort();
    problems.dedup();
    Ok(problems)
}

struct SourceFile {
    path: PathBuf,
    source: String,
}

/// All `.rs` files below a folder, without those of modules that are only compiled for tests.
fn shipped_files(source_dir: &Path) -> Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    let mut test_modules = BTreeSet::new();
    let mut open = vec![source_dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                let stem = path.file_stem().unwrap_or_default().to_owned();
                let is_root = ["lib", "main", "mod"].iter().any(|name| stem == *name);
                let module_dir = if is_root { dir.clone() } else { dir.join(stem) };
                let tokens =
                    parse(&source).with_context(|| format!("cannot read {}", path.display()))?;
                test_modules.extend(
                    test_only_modules(tokens)
                        .into_iter()
                        .map(|module| module_dir.join(module)),
                );
                files.push(SourceFile { path, source });
            }
        }
    }
    // `tests` is in `tests.rs` or below `tests/`.
    files.retain(|file| {
        !file
            .path
            .with_extension("")
            .ancestors()
            .any(|path| test_modules.contains(path))
    });
    Ok(files)
}

fn parse(source: &str) -> Result<TokenStream> {
    source
        .parse()
        .map_err(|error| anyhow::anyhow!("it is not Rust: {error}"))
}

/// The names in `#[cfg(test)] mod NAME;`.
fn test_only_modules(tokens: TokenStream) -> Vec<String> {
    let mut modules = Vec::new();
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, _) in trees
        .iter()
        .enumerate()
        .filter(|(at, _)| is_cfg_test(&trees, *at))
    {
        let item = &trees[at + 2..item_end(&trees, at + 2)];
        if let [
            ..,
            TokenTree::Ident(keyword),
            TokenTree::Ident(name),
            TokenTree::Punct(end),
        ] = item
            && keyword == "mod"
            && end.as_char() == ';'
        {
            modules.push(name.to_string());
        }
    }
    modules
}

/// Whether `#[cfg(test)]` stands at this position.
fn is_cfg_test(trees: &[TokenTree], at: usize) -> bool {
    matches!(trees.get(at), Some(TokenTree::Punct(hash)) if hash.as_char() == '#')
        && matches!(trees.get(at + 1), Some(TokenTree::Group(group))
            if group.delimiter() == Delimiter::Bracket && group.stream().to_string().replace(' ', "") == "cfg(test)")
}

/// Where the item that starts here is over: after its braces or its semicolon.
fn item_end(trees: &[TokenTree], start: usize) -> usize {
    let is_end = |tree: &TokenTree| match tree {
        TokenTree::Punct(punct) => punct.as_char() == ';',
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Ident(_) | TokenTree::Literal(_) => false,
    };
    let is_use = matches!(trees.get(start), Some(TokenTree::Ident(word)) if word == "use");
    let is_end =
        |tree: &TokenTree| is_end(tree) && !(is_use && matches!(tree, TokenTree::Group(_)));
    trees[start.min(trees.len())..]
        .iter()
        .position(is_end)
        .map_or(trees.len(), |length| start + length + 1)
}

/// Every path in the source that starts with a refused one, in the order of their appearance.
fn refused_paths(source: &str, refused: &[&str]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    collect_paths(parse(source)?, "", &mut |path| {
        let begins = |with: &&&str| {
            path == **with
                || path
                    .strip_prefix(**with)
                    .is_some_and(|rest| rest.starts_with("::"))
        };
        if refused.iter().any(|with| begins(&with))
            && !PURE_ALL_THE_SAME.iter().any(|with| begins(&with))
        {
            found.push(path.to_owned());
        }
    });
    Ok(found)
}

/// Calls `visit` with every path of the tokens; `std::{fs, io}` counts as the two paths `std::fs` and `std::io`.
fn collect_paths(tokens: TokenStream, prefix: &str, visit: &mut impl FnMut(&str)) {
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < trees.len() {
        if is_cfg_test(&trees, at) {
            at = item_end(&trees, at + 2);
            continue;
        }
        match &trees[at] {
            TokenTree::Ident(first) => {
                let mut path = format!("{prefix}{first}");
                let mut divides = false;
                at += 1;
                while is_path_separator(&trees, at) && !divides {
                    at += 2;
                    match trees.get(at) {
                        Some(TokenTree::Ident(next)) => path = format!("{path}::{next}"),
                        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                            collect_paths(group.stream(), &format!("{path}::"), visit);
                            divides = true;
                        }
                        _ => break,
                    }
                    at += 1;
                }
                if !divides {
                    visit(&path);
                }
            }
            TokenTree::Group(group) => {
                collect_paths(group.stream(), "", visit);
                at += 1;
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => at += 1,
        }
    }
}

fn is_path_separator(trees: &[TokenTree], at: usize) -> bool {
    let is_colon = |tree: Option<&TokenTree>| matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    is_colon(trees.get(at)) && is_colon(trees.get(at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(source: &str) -> Vec<String> {
        refused_paths(source, IMPURE).unwrap()
    }

    #[test]
    fn uses_and_paths_are_found() {
        assert_eq!(refused("use std::fs;"), ["std::fs"]);
        assert_eq!(
            refused("use std::{collections::BTreeMap, fs::{self, File}, io};"),
            ["std::fs::self", "std::fs::File"]
        );
        assert_eq!(
            refused("fn f() { let x = std::env::var(\"A\"); }"),
            ["std::env::var"]
        );
        assert_eq!(
            refused("fn f() { g(&::std::time::Instant::now()); }"),
            ["std::time::Instant::now"]
        );
        assert_eq!(
            refused("use rayon::prelude::*; fn f() { tokio::spawn(x) }"),
            ["rayon::prelude", "tokio::spawn"]
        );
        assert_eq!(
            refused("#[cfg(unix)] use std::os::unix::fs;"),
            ["std::os::unix::fs"]
        );
        assert_eq!(
            refused("use std::net::{IpAddr, TcpStream};"),
            ["std::net::TcpStream"]
        );
    }

    #[test]
    fn pure_code_passes() {
        assert_eq!(
            refused(
                "use std::{fmt, io}; use std::net::Ipv4Addr; fn fs() { a::std::b(); self::fs(); }"
            ),
            [""; 0]
        );
    }

    #[test]
    fn comments_texts_and_tests_do_not_count() {
        let source = "//! std::fs\n/// std::fs\nconst A: &str = \"std::fs\"; // std::fs\n\
            #[cfg(test)] use std::{fs, env};\n#[cfg(test)]\nmod tests { use std::fs; }\n\
            #[cfg(test)] mod more;\nfn f() {}";
        assert_eq!(refused(source), [""; 0]);
        assert_eq!(
            refused(&format!("{source} use std::thread;")),
            ["std::thread"]
        );
    }

    #[test]
    fn files_of_test_modules_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, source: &str| fs::write(dir.path().join(name), source).unwrap();
        write("lib.rs", "mod plan; #[cfg(test)] mod random;");
        write("plan.rs", "#[cfg(test)] mod tests;");
        write("random.rs", "use std::time::Instant;");
        fs::create_dir(dir.path().join("plan")).unwrap();
        write("plan/tests.rs", "use std::fs;");
        write("plan/other.rs", "use std::fs;");
        let mut files: Vec<_> = shipped_files(dir.path())
            .unwrap()
            .into_iter()
            .map(|file| file.path)
            .collect();
        files.sort();
        assert_eq!(
            files,
            ["lib.rs", "plan/other.rs", "plan.rs"].map(|name| dir.path().join(name))
        );
    }
}
