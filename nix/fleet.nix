# `mkFleet`: the images of a fleet of projects on one package collection. Projects choose package sets; what a development
# container and a production container are is said here, once. docs/fleet.md describes every argument.
#
#   fleet = nixply.lib.mkFleet { packageSets = { base = [ … ]; python = [ … ]; }; };
#   fleet.mkDevContainer { sets = [ "base" "python" ]; }
#   fleet.mkRuntime { packages = [ app ]; sets = [ "base" ]; }
{ check, derivations, buildImage, platforms, pkgs }:
let
  inherit (builtins) attrNames concatLists concatStringsSep elem filter intersectAttrs isAttrs listToAttrs mapAttrs toJSON;
  inherit (check) string int bool attrs storePath listOf attrsOf nullOr json enum;
  inherit (import ./config.nix check) config;

  nixpkgs = pkgs;
  function = "nixply.lib.mkFleet";
  optional = type: { type = nullOr type; default = null; };

  # The type, or `false`, which means none.
  orFalse = type: {
    name = "${type.name} or false";
    convert = place: value: if value == false then false else type.convert place value;
  };

  fleetTable = {
    packageSets.type = attrsOf (listOf storePath);
    pkgs = optional attrs // { default = nixpkgs; };
    catalog = optional (orFalse storePath);
    catalogLevel = optional int;
    compression = optional string;
    # With many packages two of them have some file of one name sooner or later; the first in the list wins, as in nixpkgs.
    onCollision = { type = enum [ "error" "first" ]; default = "first"; };
    extraRoot = { type = attrs; default = { }; };
    nixPath = optional string;
    acceptFlakeConfig = { type = bool; default = true; };

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
    tzdata = optional (orFalse storePath);
  };

  # Arguments of `buildImage` that an image of a fleet takes as they are.
  passedOn = builtins.removeAttrs buildImage.table [
    # What the fleet says, for all of its images.
    "architecture" "catalog" "compression" "layerFormat" "layeringPipeline" "packer" "platform"
    # What makes an image one of its kind; `extraConfig` and `extraRoot` are laid over the second line.
    "contents" "name" "tag" "nixDatabase"
    "config" "root"
    # Scripts see contents as one tree of their own, without what is in `root`.
    "extraCommands" "fakeRootCommands" "enableFakechroot"
    # An image of this machine's store is no image of a fleet.
    "includeStorePaths"
  ];

  # The arguments of both kinds of image; `packages` and `sets` may be given together.
  imageTable = { name, user, foreignPrograms }: passedOn // {
    packages = { type = listOf storePath; default = [ ]; };
    sets = { type = listOf string; default = [ ]; };
    name = { type = string; default = name; };
    tag = { type = string; default = "latest"; };
    user = { type = string; default = user; };
    extraConfig = { type = config; default = { }; };
    extraRoot = { type = attrs; default = { }; };
    foreignPrograms = { type = bool; default = foreignPrograms; };
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

  # What stands outside the store, with more of it: `b` wins, by path or name. Of users and groups each attribute is one's own.
  withMore = a: b:
    let
      isPlain = value: isAttrs value && !(value ? outPath);
      below = merge: name: value: if a ? ${name} && isPlain a.${name} && isPlain value then merge name a.${name} value else value;
      byAttribute = a: b: a // mapAttrs (name: value: if isPlain (a.${name} or null) && isPlain value then a.${name} // value else value) b;
    in
    a // mapAttrs (below (kind: if kind == "users" || kind == "groups" then byAttribute else a: b: a // b)) b;
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
  envProgram = or' args.env "${collection.coreutils}/bin/env";
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
  tzdata = optionalPackage args.tzdata (collection.tzdata or null);

  packagesOf = function: image:
    concatLists (map
      (set: args.packageSets.${set} or (throw "${function}: there is no package set `${set}`${check.didYouMean (attrNames args.packageSets) set}"))
      image.sets) ++ image.packages;

  owned = user: { inherit user; group = user; };
  ownedFile = user: text: owned user // { inherit text; };

  # What programs that were not made for Nix need: what starts them at its usual place, and their libraries. nix-ld gives them
  # to these programs and leaves those of Nix alone; without nix-ld all programs look there first.
  foreign = {
    root = if place == null then { } else {
      # A package may have it as a link to something else.
      directories.${directoryOf place} = { };
      links.${place} = if nixLd == null then loader else "${nixLd}/libexec/nix-ld";
    };
    env =
      if nixLd == null then [ "LD_LIBRARY_PATH=${libraryPath}" ]
      else [ "NIX_LD=${loader}" "NIX_LD_LIBRARY_PATH=${libraryPath}" ];
  };

  # glibc of nixpkgs finds time zones by the variable alone, what brings a C library or none of its own at the place.
  zones = {
    root.links."/etc/zoneinfo" = "${tzdata}/share/zoneinfo";
    env = [ "TZDIR=/etc/zoneinfo" ];
  };

  # An image with what is asked for, over what its kind has.
  build = image: { packages, maxLayers, root, home, env, config, labels ? { }, more ? { } }:
    let
      parts = (if image.foreignPrograms then [ foreign ] else [ ])
        ++ (if tzdata != null && elem "${tzdata}" packages then [ zones ] else [ ]);
      ofEvery = {
        users = {
          root = { uid = 0; home = "/root"; description = "root"; };
        } // (if image.user == "root" then { } else {
          ${image.user} = { inherit uid gid home; description = image.user; };
        });
        inherit shell caCertificates;
        env = envProgram;
      };
    in
    buildImage (intersectAttrs passedOn image // {
      inherit (image) name tag;
      contents = packages;
      root = builtins.foldl' withMore ofEvery (map (part: part.root) parts ++ [ root args.extraRoot image.extraRoot ]);
      config = config // { Env = env ++ [ "LANG=C.UTF-8" ] ++ concatLists (map (part: part.env) parts); } // image.extraConfig;
      labels = labels // or' image.labels { };
      maxLayers = or' image.maxLayers maxLayers;
      onCollision = or' image.onCollision args.onCollision;
      inherit (args) compression;
      catalog = if args.catalog == false || (args.catalog == null && sets == { }) then null else or' args.catalog catalog;
    } // platform // more);

  mkDevContainer = given:
    let
      function = "mkDevContainer";
      image = check.arguments function (imageTable { name = "devcontainer"; user = "vscode"; foreignPrograms = true; }) given;
      inherit (image) user;
      isRoot = user == "root";
      home = if isRoot then "/root" else "/home/${user}";
    in
    build image {
      packages = packagesOf function image;
      inherit home;
      # Tools that build on the image add layers of their own; Docker's graph drivers take 125.
      maxLayers = 100;
      root = {
        groups.wheel = { gid = 10; members = [ user ]; };
        directories = {
          "/workspace" = owned user;
          "${home}/.config" = owned user;
          "${home}/.config/direnv" = owned user;
        };
        files = {
          # A real file, for a link cannot carry the setuid bit, and first in PATH. A sudo among the packages does no harm.
          "/usr/local/bin/sudo" = { source = "${sudo}/bin/sudo"; mode = "4755"; };
          "/etc/sudoers" = {
            mode = "0440";
            text = ''
              Defaults env_keep += "SSL_CERT_FILE NIX_SSL_CERT_FILE NIX_PATH NIX_LD NIX_LD_LIBRARY_PATH TZDIR"
              root ALL=(ALL:ALL) ALL
              #includedir /etc/sudoers.d
            '';
          };
          # Nobody else is in the container, so nothing is gained by building as other users or in a sandbox.
          "/etc/nix/nix.conf".text = ''
            experimental-features = nix-command flakes
            accept-flake-config = ${if args.acceptFlakeConfig then "true" else "false"}
            sandbox = false
            build-users-group =
          '';
          "${home}/.bashrc" = ownedFile user ''
            if command -v direnv > /dev/null; then eval "$(direnv hook bash)"; fi
            if command -v starship > /dev/null; then eval "$(starship init bash)"; fi
            # git and others take what is not here where nothing is said.
            if command -v less > /dev/null; then export PAGER="''${PAGER:-less}"; fi
            if command -v nano > /dev/null; then export EDITOR="''${EDITOR:-nano}"; fi
          '';
          # Login shells read this one alone.
          "${home}/.bash_profile" = ownedFile user ''
            if [ -f ~/.bashrc ]; then . ~/.bashrc; fi
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
        links."/usr/bin/sudo" = "/usr/local/bin/sudo";
        # VS Code's server asks for no glibc of its own where the first line says so.
        osRelease = { ID = "nixos"; NAME = "NixOS"; };
      };
      env = [
        "HOME=${home}"
        "USER=${user}"
        "PATH=/usr/local/bin:${home}/.nix-profile/bin:/nix/var/nix/profiles/default/bin:/usr/bin:/bin"
        "NIX_PATH=${or' args.nixPath "nixpkgs=channel:nixpkgs-unstable"}"
        "SSL_CERT_FILE=${caCertificates}"
        "NIX_SSL_CERT_FILE=${caCertificates}"
      ];
      config = {
        User = user;
        WorkingDir = "/workspace";
        Cmd = [ shell ];
      };
      labels."devcontainer.metadata" = toJSON [{ remoteUser = user; }];
      # With the store the user can become root: no loss, since sudo lets them anyway.
      more.nixDatabase = if isRoot then true else { inherit uid gid; };
    };

  mkRuntime = given:
    let
      function = "mkRuntime";
      image = check.arguments function (imageTable { name = "runtime"; user = "app"; foreignPrograms = false; } // {
        workdir = { type = string; default = "/app"; };
      }) given;
      inherit (image) user workdir;
    in
    if user == "root" then throw "${function}: argument `user` is `root`, expected another user: buildImage makes an image that runs as root"
    else build image {
      packages = packagesOf function image;
      home = workdir;
      maxLayers = 50;
      root = { };
      env = [
        "HOME=${workdir}"
        "USER=${user}"
        "SSL_CERT_FILE=${caCertificates}"
      ];
      config = {
        User = user;
        WorkingDir = workdir;
      };
    };

  # Those that have something in them.
  sets = listToAttrs (map
    (name: { inherit name; value = args.packageSets.${name}; })
    (filter (name: args.packageSets.${name} != [ ]) (attrNames args.packageSets)));
  catalog =
    if sets == { } then throw "${function}: no package set has a package in it, so there is nothing to make a catalog of"
    else derivations.mkCatalog {
      name = "catalog.json";
      inherit sets;
      level = args.catalogLevel;
    };
in
# Wrong names are told before anything is used.
builtins.seq args {
  inherit mkDevContainer mkRuntime;
  inherit (given) packageSets;

  # The fleet's catalog (`nixply.catalog/1`), made of the package sets: for `catalog`, or to be committed beside the lock file.
  inherit catalog;
}
