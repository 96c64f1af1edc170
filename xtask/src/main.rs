//! What a developer of nixply types: `cargo xtask demo`, `cargo xtask test`.
mod command; mod debnix; mod nix; mod scratch;
fn main() -> anyhow::Result<()> {
    let s = scratch::Scratch::new()?;
    let n = nix::Nix::new(s.subdir("nix")?)?;
    let e = [debnix::Environment{name:"project-a",packages:&["bash","coreutils","findutils","grep","sed","ca-certificates","tzdata","python3"]},
     debnix::Environment{name:"project-b",packages:&["bash","coreutils","findutils","grep","sed","ca-certificates","tzdata","redis-server"]}];
    let r = debnix::build(&n, std::path::Path::new("fixtures/debnix"), &s.subdir("deb")?, &e)?;
    println!("{r:?}");
    Ok(())
}
