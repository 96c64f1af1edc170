# `mkFleet`: the images of a fleet of projects on one package collection. Projects choose package sets; what a development
# container and a production container are is said here, once. docs/fleet.md describes every argument.
#
#   fleet = nixply.lib.mkFleet { packageSets = { base = [ … ]; python = [ … ]; }; };
#   fleet.mkDevContainer { sets = [ "base" "python" ]; }
#   fleet.mkRuntime { packages = [ app ]; sets = [ "base" ]; }
{ check, derivations, buildImage, platforms, pkgs }:
let
  inherit (builtins) attrNames concatLists concatStringsSep elem filter listToAttrs mapAttrs toJSON;
  inherit (check) string int bool attrs storePath listOf attrsOf nullOr json enum;
  inherit (import ./config.nix check) config;

  nixpkgs = pkgs;
  function = "nixply.lib.mkFleet";
  optional = type: { type = nullOr type; default = null; };

  fleetTable = {
    packageSets.type = attrsOf (listOf storePath);
    pkgs = optional attrs // { default = nixpkgs; };
    catalog = optional storePath;
    catalogLevel = optional int;
    compression = optional string;
    # With many packages two of them have some file of one name sooner or later; the first in the list wins, as in nixpkgs.
    onCollision = { type = enum [ "error" "first" ]; default = "first"; };
    extraRoot = { type = attrs; default = { }; };

    # What is taken from `pkgs` where nobody says otherwise.
    shell = optional storePath;
    env = optional storePath;
    caCertificates = optional storePath;
    sudo = optional storePath;
    pamModules = optional storePath;
    loader = optional storePath;
    libraryPath = optional (listOf storePath);
    nixLd = optional json;
    nixDirenv = optional json;
  };

  # The arguments of both kinds of image; `packages` and `sets` may be given together.
  imageTable = { name, user }: {
    packages = { type = listOf storePath; default = [ ]; };
    sets = { type = listOf string; default = [ ]; };
    name = { type = string; default = name; };
    tag = { type = string; default = "latest"; };
    user = { type = string; default = user; };
    extraConfig = { type = config; default = { }; };
  };

  # Where programs that were not made for Nix look for what starts them.
  loaderPlaces = {
    amd64 = "/lib64/ld-linux-x86-64.so.2";
    arm64 = "/lib/ld-linux-aarch64.so.1";
  };
  directoryOf = path: builtins.head (builtins.match "(.*)/[^/]*" path);

  # What the user of every image has.
  uid = 1000;
  gid = 1000;

  # `a` and `b` below each name.
  merge = a: b: a // mapAttrs (name: value: if a ? ${name} && builtins.isAttrs value then a.${name} // value else value) b;
in
given:
let
  args = check.arguments function fleetTable given;
  collection =
    if args.pkgs == null
    then throw "${function}: argument `pkgs` is missing: the package collection that the shell, sudo and the certificates come from"
    else args.pkgs;
  # What is given, else what the collection has.
  or' = value: default: if value == null then default else value;

  platform =
    if collection ? stdenv.hostPlatform.system then { platform = platforms.ofSystem collection.stdenv.hostPlatform.system; } else { };
  architecture = (platform.platform or buildImage.platform).architecture;

  shell = or' args.shell "${collection.bashInteractive}/bin/bash";
  env = or' args.env "${collection.coreutils}/bin/env";
  caCertificates = or' args.caCertificates "${collection.cacert}/etc/ssl/certs/ca-bundle.crt";
  # PAM asks modules and files that a container does not have.
  sudo = or' args.sudo (if collection.sudo ? override then "${collection.sudo.override { pam = null; }}" else "${collection.sudo}");
  libraryPath = concatStringsSep ":" (or' args.libraryPath [ "${collection.glibc}/lib" "${collection.stdenv.cc.cc.lib}/lib" ]);
  # Where foreign programs look for what starts them; null on processors where nobody has tried.
  place = loaderPlaces.${architecture} or null;
  loader = or' args.loader "${collection.glibc}/lib/${baseNameOf place}";
  # `false` means none.
  optionalPackage = value: default: if value == false then null else or' value default;
  nixLd = if place == null then null else optionalPackage args.nixLd (collection.nix-ld or null);
  nixDirenv = optionalPackage args.nixDirenv (collection.nix-direnv or null);

  packagesOf = function: image:
    concatLists (map
      (set: args.packageSets.${set} or (throw "${function}: there is no package set `${set}`${check.didYouMean (attrNames args.packageSets) set}"))
      image.sets) ++ image.packages;

  owned = user: { inherit user; group = user; };
  ownedFile = user: text: owned user // { inherit text; };

  build = image: buildImage ({
    inherit (image) name tag config root maxLayers;
    contents = image.packages;
    inherit (args) compression catalog onCollision;
  } // platform // image.more or { });

  rootOf = image: merge (merge {
    users = {
      root = { uid = 0; home = "/root"; description = "root"; };
    } // (if image.user == "root" then { } else {
      ${image.user} = { inherit uid gid; inherit (image) home; description = image.user; };
    });
    inherit shell env caCertificates;
  } image.root) args.extraRoot;

  mkDevContainer = given:
    let
      function = "mkDevContainer";
      image = check.arguments function (imageTable { name = "devcontainer"; user = "vscode"; }) given;
      inherit (image) user;
      isRoot = user == "root";
      home = if isRoot then "/root" else "/home/${user}";
    in
    build {
      inherit (image) name tag;
      packages = packagesOf function image;
      # Tools that build on the image add layers of their own; Docker's graph drivers take 125.
      maxLayers = 100;
      root = rootOf {
        inherit user home;
        root = {
          groups.wheel = { gid = 10; members = [ user ]; };
          directories = {
            "/workspace" = owned user;
            "${home}/.config" = owned user;
            "${home}/.config/direnv" = owned user;
          } // (if place == null then { } else {
            # A package may have it as a link to something else.
            ${directoryOf place} = { };
          });
          files = {
            # A real file, for a link cannot carry the setuid bit, and first in PATH. A sudo among the packages does no harm.
            "/usr/local/bin/sudo" = { source = "${sudo}/bin/sudo"; mode = "4755"; };
            "/etc/sudoers" = {
              mode = "0440";
              text = ''
                Defaults env_keep += "SSL_CERT_FILE NIX_SSL_CERT_FILE NIX_PATH"
                root ALL=(ALL:ALL) ALL
                #includedir /etc/sudoers.d
              '';
            };
            # Nobody else is in the container, so nothing is gained by building as other users or in a sandbox.
            "/etc/nix/nix.conf".text = ''
              experimental-features = nix-command flakes
              accept-flake-config = true
              sandbox = false
              build-users-group =
            '';
            "${home}/.bashrc" = ownedFile user ''
              if command -v direnv > /dev/null; then eval "$(direnv hook bash)"; fi
              if command -v starship > /dev/null; then eval "$(starship init bash)"; fi
            '';
          } // (if isRoot then { } else {
            "/etc/sudoers.d/${user}" = { mode = "0440"; text = "${user} ALL=(ALL:ALL) NOPASSWD:ALL\n"; };
          }) // (if nixDirenv == null then { } else {
            "${home}/.config/direnv/direnvrc" = ownedFile user "source ${nixDirenv}/share/nix-direnv/direnvrc\n";
          }) // (if args.pamModules == null then { } else {
            # A sudo that was built with PAM: sudoers alone decides.
            "/etc/pam.d/sudo".text = concatStringsSep "" (map
              (kind: "${kind} required ${args.pamModules}/pam_permit.so\n")
              [ "auth" "account" "password" "session" ]);
          });
          links = {
            "/usr/bin/sudo" = "/usr/local/bin/sudo";
          } // (if place == null then { } else {
            ${place} = if nixLd == null then loader else "${nixLd}/libexec/nix-ld";
          });
          # VS Code's server asks for no glibc of its own where the first line says so.
          osRelease = { ID = "nixos"; NAME = "NixOS"; };
        };
      };
      config = {
        User = user;
        WorkingDir = "/workspace";
        Env = [
          "HOME=${home}"
          "USER=${user}"
          "PATH=/usr/local/bin:${home}/.nix-profile/bin:/nix/var/nix/profiles/default/bin:/usr/bin:/bin"
          "NIX_PATH=nixpkgs=channel:nixpkgs-unstable"
          "SSL_CERT_FILE=${caCertificates}"
          "NIX_SSL_CERT_FILE=${caCertificates}"
        ] ++ (
          # What VS Code's server brings with it finds its libraries by nix-ld, which leaves programs of Nix alone; without
          # nix-ld all programs look there first.
          if nixLd == null then [ "LD_LIBRARY_PATH=${libraryPath}" ]
          else [ "NIX_LD=${loader}" "NIX_LD_LIBRARY_PATH=${libraryPath}" ]
        );
        Cmd = [ shell ];
      } // image.extraConfig;
      more = {
        # With the store the user can become root: no loss, since sudo lets them anyway.
        nixDatabase = if isRoot then true else { inherit uid gid; };
        labels."devcontainer.metadata" = toJSON [{ remoteUser = user; }];
      };
    };

  mkRuntime = given:
    let
      function = "mkRuntime";
      image = check.arguments function (imageTable { name = "runtime"; user = "app"; } // {
        workdir = { type = string; default = "/app"; };
      }) given;
      inherit (image) user workdir;
    in
    if user == "root" then throw "${function}: argument `user` is `root`, expected another user: buildImage makes an image that runs as root"
    else build {
      inherit (image) name tag;
      packages = packagesOf function image;
      maxLayers = 50;
      root = rootOf {
        inherit user;
        home = workdir;
        root = { };
      };
      config = {
        User = user;
        WorkingDir = workdir;
        Env = [
          "HOME=${workdir}"
          "USER=${user}"
          "SSL_CERT_FILE=${caCertificates}"
          "LD_LIBRARY_PATH=${libraryPath}"
        ];
      } // image.extraConfig;
    };
in
# Wrong names are told before anything is used.
builtins.seq args {
  inherit mkDevContainer mkRuntime;
  inherit (given) packageSets;

  # The fleet's catalog (`nixply.catalog/1`), made of the package sets: for `catalog`, or to be committed beside the lock file.
  catalog = derivations.mkCatalog {
    name = "catalog.json";
    sets = listToAttrs (map
      (name: { inherit name; value = args.packageSets.${name}; })
      (filter (name: args.packageSets.${name} != [ ]) (attrNames args.packageSets)));
    level = args.catalogLevel;
  };
}
