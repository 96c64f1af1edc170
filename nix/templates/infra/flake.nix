{
  description = "The package sets and image functions of all projects of my-org";

  inputs = {
    # Moved once a week by .github/workflows/update.yml. The small channel has security fixes earliest.
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable-small";
    nixply.url = "github:my-org/nixply";
    nixply.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs = { self, nixpkgs, nixply }:
    let
      forSystems = nixpkgs.lib.genAttrs [ "x86_64-linux" "aarch64-linux" ];
      pkgsFor = forSystems (system: import nixpkgs {
        inherit system;
        overlays = [ (import ./overlays/cve-patches.nix) ];
      });
      fleetFor = forSystems (system: nixply.lib.mkFleet {
        pkgs = pkgsFor.${system};
        packageSets = import ./package-sets.nix pkgsFor.${system};
        # What <nixpkgs> is in a development container: the very one that its packages are from.
        nixPath = if nixpkgs ? rev then "nixpkgs=https://github.com/NixOS/nixpkgs/archive/${nixpkgs.rev}.tar.gz" else null;
        # Smaller than gzip, and faster to make and to unpack. Docker reads it from 23.0, containerd from 1.5, and so do podman and
        # CRI-O; take "gzip" for what is older, and for tools that unpack layers by themselves and know gzip alone.
        compression = "zstd";
        # Lets images of different sets agree on their layers: a catalog of these sets, which Nix makes. That takes the packages of
        # all sets; where builds begin empty, commit it (README.md), and it is taken as it is.
        catalog = let committed = ./. + "/catalog-${system}.json"; in if builtins.pathExists committed then committed else null;
      });
    in
    {
      # What projects use: `infra.lib.SYSTEM.mkDevContainer { sets = [ "base" "python" ]; }`.
      packageSets = forSystems (system: fleetFor.${system}.packageSets);
      lib = forSystems (system: { inherit (fleetFor.${system}) mkDevContainer mkRuntime; });

      packages = forSystems (system: {
        # The command, for the workflows of projects.
        nixply = nixply.packages.${system}.nixply;
        # Which store paths share layers in all images of the fleet.
        catalog = fleetFor.${system}.catalog;

        # Examples, and what `nix flake check` tries.
        example-python-devcontainer = fleetFor.${system}.mkDevContainer {
          name = "ghcr.io/my-org/infra/example-python-devcontainer";
          sets = [ "base" "devTools" "nixTools" "python" "pythonDev" ];
        };
        example-python-runtime = fleetFor.${system}.mkRuntime {
          name = "ghcr.io/my-org/infra/example-python-runtime";
          sets = [ "base" "python" ];
        };
        example-node-devcontainer = fleetFor.${system}.mkDevContainer {
          name = "ghcr.io/my-org/infra/example-node-devcontainer";
          sets = [ "base" "devTools" "nixTools" "node" "nodeDev" ];
        };
        example-node-runtime = fleetFor.${system}.mkRuntime {
          name = "ghcr.io/my-org/infra/example-node-runtime";
          sets = [ "base" "node" ];
        };
      });

      checks = forSystems (system: {
        inherit (self.packages.${system}) example-python-devcontainer example-python-runtime example-node-devcontainer example-node-runtime;
      });

      # The same tools without a container: `nix develop`.
      devShells = forSystems (system:
        let
          sets = self.packageSets.${system};
          shell = packages: pkgsFor.${system}.mkShell { inherit packages; };
        in
        {
          default = shell sets.devTools;
          python = shell (sets.python ++ sets.pythonDev);
          node = shell (sets.node ++ sets.nodeDev);
          go = shell (sets.go ++ sets.goDev);
          rust = shell (sets.rust ++ sets.rustDev);
        });
    };
}
