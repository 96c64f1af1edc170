# What `extraCommands` and `fakeRootCommands` make of an image's contents: a derivation of its own that holds one tar, so that a
# change of a script touches no layer of store paths.
#
# The contents are linked into a tree first, by a derivation of its own, too. Then `extraCommands` run in the tree as the
# builder, and `fakeRootCommands` under fakeroot: the owners, modes, setuid bits and device nodes that they make are in
# the tar. docs/migrating-from-dockertools.md says what differs from nixpkgs, which has the same in
# pkgs/build-support/docker/default.nix.
{ pkgs }:

# For messages: the function whose arguments these are.
function:

{ baseName
, contents
, extraCommands ? ""
, fakeRootCommands ? ""
, enableFakechroot ? false
}:
let
  inherit (builtins) storeDir concatStringsSep;

  tree = pkgs.symlinkJoin { name = "${baseName}-contents"; paths = contents; };

  # The end of a path of the kernel's, which no layer should have, and the store, whose paths are in layers of their own.
  notInTheLayer = map (path: "--exclude=.${path}") [ "/dev" "/proc" "/sys" storeDir ];
  binds = map (path: "--bind=${path}:${path}!") [ "/dev/" "/proc/" "/sys/" "${storeDir}/" ];

  # A script says which of its commands failed; also in functions and subshells (`-E`).
  told = argument: ''
    set -E
    trap "echo \"${argument}: this command failed: \$BASH_COMMAND\" >&2" ERR
    eval "${"$" + argument}"
    trap - ERR
  '';

  # With a root of its own, proot makes the directories that it binds; those above the store are not the script's work.
  tar = exclude: ''
    tar --sort=name --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --hard-dereference ${exclude} -cf "$out/layer.tar" .
  '';
in
if pkgs == null then throw "${function}: extraCommands and fakeRootCommands need `pkgs`, for a shell and its tools"
else
  pkgs.runCommand "${baseName}-customisation-layer"
  {
    inherit tree extraCommands fakeRootCommands;
    nativeBuildInputs = [ pkgs.fakeroot ] ++ (if enableFakechroot then [ pkgs.proot ] else [ ]);
  }
    (''
      export SOURCE_DATE_EPOCH="''${SOURCE_DATE_EPOCH:-315532800}"
      mkdir root
      cp -a "$tree/." root
      # Directories of the store are read-only, and so are their copies.
      chmod -R u+w root
      (
        cd root
        ${told "extraCommands"}
      )
      mkdir "$out"
    '' + (if enableFakechroot then ''
      had_store=; [ ! -e root/nix ] || had_store=1
      export had_store
      proot -r "$PWD/root" ${concatStringsSep " " binds} --bind="$out:$out!" --pwd=/ fakeroot bash -c '
        source "$stdenv/setup"
        set -e
        ${told "fakeRootCommands"}
        cd /
        only_store=
        [ -n "$had_store" ] || [ "$(ls -A /nix)" != store ] || only_store=--exclude=./nix
        ${tar "${concatStringsSep " " notInTheLayer} $only_store"}
      '
    '' else ''
      fakeroot bash -c '
        source "$stdenv/setup"
        # Not as in nixpkgs: a command that fails fails the build.
        set -e
        cd root
        ${told "fakeRootCommands"}
        ${tar ""}
      '
    '') + ''
      sha256sum "$out/layer.tar" | cut -d " " -f 1 > "$out/checksum"
    '')
