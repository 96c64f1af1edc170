//! Prints a row a planner: `table DIR DRAW MAX_LAYERS [PREFIX…]`.
#![expect(clippy::print_stdout, reason = "an example prints")]

use nixply_reuse::{Fleet, Images, Pin, planners, read_projects, replay};
use std::error::Error;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [dir, draw, max_layers, prefixes @ ..] = words.as_slice() else {
        return Err("usage: table DIR DRAW MAX_LAYERS [PREFIX…]".into());
    };
    let default = [
        "nixos-19.09-2019-10".to_owned(),
        "nixos-19.09-2019-11".to_owned(),
    ];
    let prefixes = if prefixes.is_empty() {
        &default[..]
    } else {
        prefixes
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(pin) = name.strip_suffix(".images.json")
            && prefixes
                .iter()
                .any(|prefix| pin.starts_with(prefix.as_str()))
        {
            names.push(pin.to_owned());
        }
    }
    names.sort();
    let mut pins = Vec::new();
    for name in names {
        let closure = std::fs::read(format!("{dir}/{name}.json"))?;
        let sets = std::fs::read(format!("{dir}/{name}.images.json"))?;
        pins.push(Pin::read(&name, &closure, &sets)?);
    }
    let projects = std::fs::read(format!("{dir}/projects.json"))?;
    let projects = read_projects("projects.json", &projects, draw)?;
    let fleet = Fleet {
        pins,
        images: Images::Projects(projects),
    };
    println!("{} pins, {draw}, K={max_layers}", fleet.pins.len());
    println!(
        "{:<14} {:>7} {:>7} {:>7} {:>8} {:>7} {:>8} {:>7}  {:>18} {:>6} {:>7}",
        "planner",
        "push",
        "pull",
        "cross",
        "deploy",
        "chain",
        "depchain",
        "first",
        "insertion MB",
        "layers",
        "s"
    );
    for mut planner in planners::all(max_layers.parse()?) {
        let start = Instant::now();
        let t = replay(&fleet, planner.as_mut(), 2)?;
        let insertion: Vec<String> = t
            .insertion
            .iter()
            .map(|b| format!("{}.{}", b / 16_000_000, b / 1_600_000 % 10))
            .collect();
        println!(
            "{:<14} {:>7.3} {:>7.3} {:>7.3} {:>8.3} {:>7.3} {:>8.3} {:>7.3}  {:>18} {:>6} {:>7.2}",
            planner.name(),
            t.push.ratio(),
            t.pull.ratio(),
            t.cross.ratio(),
            t.deploy.ratio(),
            t.chain.ratio(),
            t.deploy_chain.ratio(),
            t.first_push.ratio(),
            insertion.join(" / "),
            t.layers,
            start.elapsed().as_secs_f64()
        );
    }
    Ok(())
}
