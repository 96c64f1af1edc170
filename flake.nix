{
  description = "Layered container images from Nix closures, pushed without a daemon";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = { self, nixpkgs }:
    let
      forSystems = function: builtins.listToAttrs (map
        (system: { name = system; value = function nixpkgs.legacyPackages.${system}; })
        [ "x86_64-linux" "aarch64-linux" ]);
      packageOf = pkgs: pkgs.callPackage ./nix/package.nix { };
      # The functions for a nixpkgs; nixply itself is built by this flake's own.
      withPkgs = pkgs: import ./nix {
        inherit pkgs;
        nixply = self.packages.${pkgs.stdenv.buildPlatform.system}.nixply;
      };
    in
    {
      packages = forSystems (pkgs: rec {
        nixply = packageOf pkgs;
        default = nixply;
        # nixply as an image, made by itself: `nix run .#image.push -- REF`.
        image = (withPkgs pkgs).lib.buildImage {
          name = "nixply";
          contents = [ nixply pkgs.cacert ];
          config = {
            Entrypoint = [ "/bin/nixply" ];
            Env = [ "SSL_CERT_FILE=${pkgs.cacert}/etc/ssl/certs/ca-bundle.crt" ];
          };
        };
      });

      apps = forSystems (pkgs: {
        default = {
          type = "app";
          program = "${packageOf pkgs}/bin/nixply";
          meta.description = "Builds layered container images and pushes them";
        };
      });

      checks = forSystems (pkgs: {
        package = packageOf pkgs;
        image = self.packages.${pkgs.stdenv.hostPlatform.system}.image.manifest;
      });

      # `pkgs.nixply` beside `pkgs.dockerTools`: the command, and the functions `pkgs.nixply.lib`.
      overlays.default = final: prev: {
        nixply = packageOf final // import ./nix { nixply = packageOf final.buildPackages; pkgs = final; };
      };
      # The same in the place of `pkgs.dockerTools`; what nixply does not have stays nixpkgs' own.
      overlays.dockerTools = final: prev:
        let nixply = import ./nix { nixply = packageOf final.buildPackages; pkgs = final // { inherit (prev) dockerTools; }; };
        in self.overlays.default final prev // { inherit (nixply) dockerTools; };

      # `nix flake init -t`: the fleet's package sets and images, and a project that uses them.
      templates = rec {
        infra = {
          path = ./nix/templates/infra;
          description = "The package sets and images of a fleet, with weekly updates and a place for CVE patches";
        };
        project = {
          path = ./nix/templates/project;
          description = "A project of a fleet: its development and production containers, and their CI";
        };
        default = project;
      };

      # Every function takes `pkgs` beside its own arguments: `nixply.lib.buildImage { inherit pkgs; name = "app"; }`. All of
      # them for one nixpkgs: `nixply.lib.withPkgs pkgs`.
      lib = { inherit withPkgs; } // builtins.mapAttrs
        (name: function: arguments:
          if (import ./nix/other-tools.nix).functions ? ${name} then function arguments
          else if arguments ? pkgs then (withPkgs arguments.pkgs).lib.${name} (removeAttrs arguments [ "pkgs" ])
          else throw ("nixply.lib.${name}: argument `pkgs` is missing, the nixpkgs that your packages are from: "
            + "`nixply.lib.${name} { inherit pkgs; … }`, or `(nixply.lib.withPkgs pkgs).lib.${name} { … }`"))
        (import ./nix { nixply = null; system = null; }).lib;
    };
}
