{
  description = "my-project";

  inputs = {
    infra.url = "github:my-org/infra";
    # The very nixpkgs that infra has, not one of this project's own: the same packages are then the same store paths as in all
    # other projects, and the same layers. `nix flake update infra` moves it.
    nixpkgs.follows = "infra/nixpkgs";
  };

  outputs = { self, infra, nixpkgs }:
    let
      forSystems = nixpkgs.lib.genAttrs [ "x86_64-linux" "aarch64-linux" ];
      # Labels that tell a registry and its readers where an image comes from.
      Labels."org.opencontainers.image.source" = "https://github.com/my-org/my-project";
    in
    {
      packages = forSystems (system: {
        # `nix run .#devcontainer.load` puts it into Docker or podman, `nix run .#devcontainer.push` into the registry.
        devcontainer = infra.lib.${system}.mkDevContainer {
          name = "ghcr.io/my-org/my-project/devcontainer";
          sets = [ "base" "devTools" "nixTools" "python" "pythonDev" ];
          extraConfig = { inherit Labels; };
        };

        runtime = infra.lib.${system}.mkRuntime {
          name = "ghcr.io/my-org/my-project/runtime";
          sets = [ "base" "python" ];
          # The application itself: `packages = [ self.packages.${system}.app ]`.
          packages = [ ];
          extraConfig = {
            inherit Labels;
            Cmd = [ "/bin/python3" ];
          };
        };

        # The command, for the workflow.
        inherit (infra.packages.${system}) nixply;
      });

      # The tools of the development container without one: `nix develop`, and .envrc.
      devShells = forSystems (system: {
        default = infra.devShells.${system}.python;
      });
    };
}
