# nixpkgs' dockerTools, by nixply: `buildLayeredImage` and `streamLayeredImage` with every argument that nixpkgs has, everything
# else as the given `pkgs` has it.
#
# docs/migrating-from-dockertools.md describes what is the same and what is better, argument by argument.
{ check, derivations, buildImage, pullImage, scripts, pkgs }:
let
  inherit (builtins) elemAt isList match replaceStrings genList substring;
  inherit (check) string int bool attrs json storePath pipeline enum nullOr listOf;
  inherit (import ./config.nix check) lenientConfig;

  optional = type: default: { type = nullOr type; inherit default; };
  # One of two types that are told by a predicate; unlike `check.either`, the second need not be an attribute set.
  oneOf = chooses: first: second: {
    name = "${first.name} or ${second.name}";
    convert = place: value: (if chooses value then first else second).convert place value;
  };

  table = {
    name = { type = string; };
    tag = optional string null;
    fromImage = optional json null;
    contents = { type = oneOf isList (listOf storePath) storePath; default = [ ]; };
    config = optional lenientConfig { };
    architecture = optional string null;
    created = { type = string; default = "1970-01-01T00:00:01Z"; };
    mtime = { type = string; default = "1970-01-01T00:00:01Z"; };
    uid = { type = int; default = 0; };
    gid = { type = int; default = 0; };
    uname = { type = string; default = "root"; };
    gname = { type = string; default = "root"; };
    maxLayers = { type = int; default = 100; };
    extraCommands = { type = string; default = ""; };
    fakeRootCommands = { type = string; default = ""; };
    enableFakechroot = { type = bool; default = false; };
    includeStorePaths = { type = bool; default = true; };
    includeNixDB = { type = bool; default = false; };
    layeringPipeline = optional pipeline null;
    debug = { type = bool; default = false; };
    passthru = { type = attrs; default = { }; };
    meta = { type = attrs; default = { }; };

    # nixply's own: which packer decides the layers, and whether layers have dockerTools' very bytes.
    packer = { type = string; default = "auto-layer"; };
    exact = { type = bool; default = false; };
  };
  withCompressor = table // {
    compressor = { type = enum [ "gz" "zstd" "none" ]; default = "gz"; };
  };

  toLower = replaceStrings
    (genList (i: substring i 1 "ABCDEFGHIJKLMNOPQRSTUVWXYZ") 26)
    (genList (i: substring i 1 "abcdefghijklmnopqrstuvwxyz") 26);

  # Seconds since 1970 of an ISO 8601 time in UTC; the days by Howard Hinnant's `days_from_civil`.
  secondsOf = function: text:
    let
      parts = match "([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(Z|[+]00:00)" text;
      # A leading zero is not JSON.
      number = i: builtins.fromJSON (elemAt (match "0*([0-9]+)" (elemAt parts i)) 0);
      month = number 1;
      year = number 0 - (if month <= 2 then 1 else 0);
      era = year / 400;
      yearOfEra = year - era * 400;
      dayOfYear = (153 * (if month > 2 then month - 3 else month + 9) + 2) / 5 + number 2 - 1;
      days = era * 146097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719468;
    in
    if text == "now" then
      throw "${function}: with `mtime = \"now\"` every layer would be new every time; leave it out, `created` may be \"now\""
    else if parts == null then
      throw "${function}: argument `mtime` is `${text}`, expected a time in UTC such as 2024-06-25T20:55:05Z"
    else ((days * 24 + number 3) * 60 + number 4) * 60 + number 5;

  # As in nixpkgs, a pipeline decides how many layers there are: up to those that a file system of layers takes.
  packingOf = args:
    if args.layeringPipeline == null then { inherit (args) packer maxLayers; }
    else { inherit (args) layeringPipeline; maxLayers = 127; };

  # The image of checked arguments.
  imageOf = function: args:
    let
      baseName = baseNameOf args.name;
      contents = if isList args.contents then args.contents else [ args.contents ];
      mtimeSecs = secondsOf function args.mtime;
      header = { name = "dockertools"; inherit mtimeSecs; inherit (args) uid gid uname gname; };
      hasDefaultHeader = header == { name = "dockertools"; mtimeSecs = 1; uid = 0; gid = 0; uname = "root"; gname = "root"; };
      packing = packingOf args;
      scriptsOf = { inherit (args) extraCommands fakeRootCommands enableFakechroot; };
      # dockerTools' customisation layer is a tar of GNU tar's, scripts or not.
      ofContents =
        if args.exact then {
          layerTars = [ "${scripts function (scriptsOf // { inherit baseName contents; })}/layer.tar" ];
        } else scriptsOf // { inherit contents; };
    in
    if args.maxLayers < 2
    then throw "${function}: argument `maxLayers` is ${toString args.maxLayers}, expected at least 2"
    else
      buildImage.named function (packing // ofContents // {
        name = toLower args.name;
        inherit (args) tag fromImage architecture created includeStorePaths;
        config = if args.config == null then { } else args.config;
        # As in nixpkgs, of two contents with one file the first wins.
        onCollision = "first";
        # As in nixpkgs, the base gives its environment and nothing else.
        inheritConfig = if args.fromImage == null then null else false;
        nixDatabase = args.includeNixDB;
        # Owners and times of store paths are what dockerTools' format has and nixply's has not.
        layerFormat = if args.exact || !hasDefaultHeader then header else null;
      });

  common = args: image: args.passthru // {
    inherit (image) imageName imageTag push load archive ociLayout manifest copyToRegistry copyToDockerDaemon copyToPodman;
    # What dockerTools gives its script: `nixply push` takes it as well as dockerTools' own.
    conf = image.plan;
  };

  finish = args: attributes: result:
    result // attributes // { passthru = attributes; meta = (result.meta or { }) // args.meta; };

  streamOf = args: image:
    finish args (common args image // { isExe = true; })
      (derivations.mkExecutable {
        name = "stream-${baseNameOf args.name}";
        command = [ "stream" "${image.plan}" "--default-tag" image.imageTag ];
      });

  extensions = { gz = ".gz"; zstd = ".zst"; none = ""; };
  compressors = { gz = "gzip"; zstd = "zstd"; none = "none"; };

  # `lib.makeOverridable`, as far as images need it.
  overridable = function: args: function args // {
    override = change: overridable function (args // (if builtins.isFunction change then change args else change));
  };

  streamLayeredImage = overridable (given:
    let
      function = "nixply.dockerTools.streamLayeredImage";
      args = check.arguments function table given;
    in
    streamOf args (imageOf function args));

  buildLayeredImage = overridable (given:
    let
      function = "nixply.dockerTools.buildLayeredImage";
      args = check.arguments function withCompressor given;
      image = imageOf function args;
    in
    finish args (common args image // { stream = streamOf args image; })
      (derivations.mkArchive {
        name = "${baseNameOf args.name}.tar${extensions.${args.compressor}}";
        # Where there can be no archive, it says why.
        plan = builtins.seq image.archive image.plan;
        tag = image.imageTag;
        format = "docker-archive";
        compressor = compressors.${args.compressor};
      }));

  # One archive of several: what is given is an archive itself, or has one.
  mergeImages = images:
    let
      isOther = image: builtins.isAttrs image && (image ? plan || image.isExe or false);
      archiveOf = image: if isOther image then image.archive else image;
    in
    if !isList images
    then throw "nixply.dockerTools.mergeImages: the argument is a ${builtins.typeOf images}, expected a list of images"
    else
      derivations.mkMerged {
        name = "merged-docker-images.tar.gz";
        archives = map archiveOf images;
        compressor = "gzip";
      };

  # Everything else is nixpkgs'.
  others =
    if pkgs == null then { }
    else builtins.removeAttrs (pkgs.dockerTools or { }) [ "override" "overrideDerivation" ];
in
others // {
  inherit streamLayeredImage buildLayeredImage mergeImages pullImage;
  buildLayeredImageWithNixDb = args: buildLayeredImage (args // { includeNixDB = true; });
}
