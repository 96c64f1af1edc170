# nixply itself, by nixpkgs' Rust platform.
{ rustPlatform }:
let
  inherit (builtins.fromTOML (builtins.readFile ../Cargo.toml)) workspace;
  root = toString ../.;

  # Every plan names the nixply that made it, so a nixply that changes with every line of documentation or of a test would make
  # every image anew. Of the other members of the workspace, Cargo wants to see that they are there.
  sources = [
    "Cargo[.](toml|lock)"
    "crates(/[^/]*(/Cargo[.]toml|/src|/src/.*)?)?"
    "benches(/.*)?"
    "xtask(/Cargo[.]toml|/src|/src/main[.]rs)?"
  ];
  isSource = path: _:
    let name = builtins.substring (builtins.stringLength root + 1) (-1) (toString path);
    in builtins.any (source: builtins.match source name != null) sources;
in
rustPlatform.buildRustPackage {
  pname = "nixply";
  inherit (workspace.package) version;
  src = builtins.path { name = "nixply-source"; path = ../.; filter = isSource; };
  cargoLock.lockFile = ../Cargo.lock;
  cargoBuildFlags = [ "--package" "nixply-cli" ];
  # The tests want registries, containers and Nix: `cargo xtask test` runs them.
  doCheck = false;
  meta = {
    description = "Layered container images from Nix closures, pushed without a daemon";
    license = {
      fullName = "Apache License 2.0";
      spdxId = workspace.package.license;
      free = true;
    };
    mainProgram = "nixply";
  };
}
