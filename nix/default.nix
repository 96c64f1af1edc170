# nixply for Nix: images as derivations whose builder is the nixply binary itself. docs/nix.md describes all functions.
#
#   nixply  a package with `bin/nixply`, for the system that builds
#   pkgs    nixpkgs, for what needs it: the defaults of `system` and of the images' platform, and shells for scripts
#   system  what builds
{ nixply
, pkgs ? null
, system ? if pkgs == null then builtins.currentSystem else pkgs.stdenv.buildPlatform.system
}:
let
  # The text of a store path alone, as it comes from a command line, is no input of a derivation.
  tool = if builtins.isString nixply && !(builtins.hasContext nixply) then builtins.storePath nixply else nixply;

  check = import ./check-arguments.nix;
  platforms = import ./platform.nix;
  derivations = import ./derivations.nix { inherit tool system; };

  # What the images run on, unless they say otherwise.
  imagePlatform = platforms.ofSystem (if pkgs == null then system else pkgs.stdenv.hostPlatform.system);

  scripts = import ./scripts.nix { inherit pkgs; };

  buildImage = import ./build-image.nix {
    inherit check derivations platforms scripts;
    platform = imagePlatform;
  };

  pullImage = import ./pull-image.nix { inherit check derivations pkgs; platform = imagePlatform; };
  base = import ./base.nix { inherit check; };
  mkFleet = import ./fleet.nix { inherit check derivations buildImage platforms pkgs; };
in
{
  lib = (import ./other-tools.nix).functions // { inherit buildImage pullImage base mkFleet; };
  dockerTools = import ./docker-tools.nix { inherit check derivations buildImage pullImage scripts pkgs; };
}
