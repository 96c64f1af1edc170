//! Writes `nix path-info --json` of a drawn closure to standard output, for timing whole processes:
//! `cargo run --release -p nixply-bench --example closure -- 100000 1000000 >closure.json`.

use nixply_testkit::fitted::{fitted_paths, path_info_json};
use std::io::Write as _;

fn main() -> std::io::Result<()> {
    let numbers: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    let [n_paths, n_references] = numbers[..] else {
        return Err(std::io::Error::other(
            "expected the numbers of paths and of references",
        ));
    };
    let json = path_info_json(&fitted_paths(1, n_paths, n_references));
    std::io::stdout().write_all(json.as_bytes())
}
