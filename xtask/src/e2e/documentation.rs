//! The examples of the documentation about Nix, and its tables.
//!
//! A block that begins with three backquotes and `nix` is an expression and is built; it sees `nixply`, the functions, and
//! `pkgs`, a few packages of Debian under nixpkgs' names. One that begins with `nix flake` is a whole flake, one that begins
//! with `nix flake package` a package of one; `flake.rs` runs these.

use super::World;
use crate::command;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

/// Where examples are.
const DOCUMENTS: [&str; 2] = ["README.md", "docs/nix.md"];

/// What examples take for nixpkgs. Debian makes its bundle of certificates when the package is installed, so there is none.
const PACKAGES: &str = r#"pkgs = {
    inherit (debnix.units) bash coreutils python3;
    cacert = derivation {
      name = "cacert";
      system = builtins.currentSystem;
      builder = "/bin/sh";
      PATH = "/usr/bin:/bin";
      args = [ "-c" "mkdir -p $out/etc/ssl/certs && echo none > $out/etc/ssl/certs/ca-bundle.crt" ];
    };
  };"#;

/// The fenced blocks of a document that begin with exactly these words, with the line on which each begins.
pub(super) fn blocks(document: &str, words: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut lines = document.lines().enumerate();
    while let Some((idx, line)) = lines.next() {
        let Some(found) = line.trim_start().strip_prefix("```") else {
            continue;
        };
        let block: Vec<&str> = lines
            .by_ref()
            .map(|(_, line)| line)
            .take_while(|line| line.trim_start() != "```")
            .collect();
        if found == words {
            blocks.push((idx + 1, block.join("\n")));
        }
    }
    blocks
}

pub(super) fn examples(world: &World) -> Result<()> {
    let dir = world.scratch.subdir("examples")?;
    // What `./previous-plan.json` in an example stands for.
    fs::copy(
        world.nix_half.build(
            "(nixply.lib.buildImage { name = \"old\"; config.Cmd = [ debnix.units.bash ]; })",
        )?,
        dir.join("previous-plan.json"),
    )?;
    let mut count = 0;
    for document in DOCUMENTS {
        let text = fs::read_to_string(world.root.join(document))?;
        for (line, block) in blocks(&text, "nix") {
            let block = block.replace("../nix", &world.root.join("nix").display().to_string());
            let package = world.nix_half.nixply.display();
            // A text is an example, too, and Nix builds only derivations.
            let whole = world.nix_half.expression(&format!(
                "let {PACKAGES} nixplyPackage = builtins.storePath {package}; example = {block}; in \
                 if builtins.isString example then derivation {{ name = \"text\"; text = example; \
                 system = builtins.currentSystem; builder = \"/bin/sh\"; args = [ \"-c\" \"echo $text > $out\" ]; }} \
                 else example"
            ));
            let file = dir.join(format!("{count}.nix"));
            fs::write(&file, whole)?;
            let mut build = world.nix.command("nix-build", ["--no-out-link"]);
            command::text(build.arg(&file))
                .with_context(|| format!("{document}, line {line}: the example cannot be built"))?;
            count += 1;
        }
    }
    ensure!(count > 3, "there are {count} examples");
    Ok(())
}

/// The rows of the first table behind a heading: the words in backquotes of the first cell, and the other cells.
fn rows(document: &str, heading: &str) -> Vec<(Vec<String>, Vec<String>)> {
    document
        .lines()
        .skip_while(|line| *line != heading)
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|row| {
            let mut cells = row
                .trim_matches('|')
                .split(" | ")
                .map(|cell| cell.trim().to_owned());
            let first = cells.next().unwrap_or_default();
            let names = first.split('`').skip(1).step_by(2).map(str::to_owned);
            (names.collect(), cells.collect())
        })
        .collect()
}

/// The heading above a function's table of arguments, and the function.
const FUNCTIONS: [(&str, &str); 3] = [
    ("### Arguments", "buildImage"),
    ("## `lib.pullImage`", "pullImage"),
    ("## `lib.base`", "base"),
];

pub(super) fn tables(world: &World) -> Result<()> {
    let text = fs::read_to_string(world.root.join("docs/nix.md"))?;
    for (heading, function) in FUNCTIONS {
        let table = format!(
            "builtins.mapAttrs (_: argument: argument.default or \"required\") nixply.lib.{function}.table"
        );
        let known: BTreeMap<String, Value> = serde_json::from_value(world.nix_half.eval(&table)?)?;
        let mut described = BTreeMap::new();
        for (names, cells) in rows(&text, heading) {
            let default = match cells[1].trim_matches('`') {
                "[ ]" => json!([]),
                "{ }" => json!({}),
                "of the images' platform" => known["arch"].clone(),
                // The words of JSON are those of Nix: null, false, "text".
                text => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
            };
            described.extend(names.into_iter().map(|name| (name, default.clone())));
        }
        ensure!(
            described == known,
            "docs/nix.md describes {described:?}, but the arguments of {function} are {known:?}"
        );
    }

    let image = "builtins.attrNames (nixply.lib.buildImage { name = \"x\"; }).passthru";
    let mut known: Vec<String> = serde_json::from_value(world.nix_half.eval(image)?)?;
    let mut described: Vec<String> = rows(&text, "### What comes back")
        .into_iter()
        .flat_map(|(names, _)| names)
        .collect();
    known.sort();
    described.sort();
    ensure!(
        described == known,
        "docs/nix.md describes {described:?}, but an image has {known:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_tables_are_found() {
        let document = "a\n```nix\n1\n2\n```\n```sh\nb\n```\n```nix flake\n3\n```\n## T\n\n\
                        | a | b |\n|---|---|\n| `x`, `y` | c | `d` |\n";
        assert_eq!(blocks(document, "nix"), [(2, "1\n2".to_owned())]);
        assert_eq!(blocks(document, "nix flake"), [(9, "3".to_owned())]);
        let rows = rows(document, "## T");
        assert_eq!(
            rows,
            [(
                vec!["x".to_owned(), "y".to_owned()],
                vec!["c".to_owned(), "`d`".to_owned()]
            )]
        );
    }
}
