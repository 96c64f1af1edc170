# `buildImage`: an image as a derivation. What is built by default is the plan, a few kB of JSON that name the image's store
# paths; the programs that push and load it, the archive and the other forms are attributes, each a derivation of its own.
#
# docs/nix.md describes every argument; a test compares the table below with it.
{ check, derivations, platforms, platform, scripts }:
let
  inherit (check) string int bool attrs json storePath pipeline enum nullOr either listOf attrsOf record matching;
  inherit (import ./root-type.nix check) root perms;
  inherit (import ./config.nix check) config;
  otherTools = import ./other-tools.nix;

  # What a text names has to be in the store: there is no network where planning reads it, and nobody's folder.
  baseImage = {
    name = "an archive, an OCI layout, an image, or what `nixply.lib.pullImage` or `nixply.lib.base` gives";
    convert = place: value:
      let
        text = if builtins.isAttrs value && !(value ? outPath) then value.path or null else value;
        isElsewhere = builtins.isString text
          && builtins.substring 0 (builtins.stringLength builtins.storeDir + 1) text != "${builtins.storeDir}/";
      in
      if isElsewhere then throw ("${place}` is `${text}`, which is no store path: an image in a registry is "
        + "`nixply.lib.base { lock = …; }`, or `nixply.lib.pullImage { … }`")
      else if builtins.isString value || builtins.isPath value || builtins.isAttrs value then value
      else check.wrong place baseImage.name value;
  };

  # `field` is the name in the image specification (`nixply.image/1`, docs/image.schema.json).
  optional = type: { type = nullOr type; default = null; };
  passed = field: type: optional type // { inherit field; };
  table = {
    name = {
      type = matching "an image name in lower case, such as `ghcr.io/acme/app`"
        "([A-Za-z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*";
      field = "name";
    };
    tag = passed "tag" (matching "a tag of letters, digits, `_`, `.` and `-`" "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}");

    contents = passed "contents" (listOf storePath) // { default = [ ]; };
    onCollision = passed "on_collision" (enum [ "error" "first" ]);
    root = passed "root" root;
    perms = passed "perms" perms // { default = [ ]; };
    layerTars = passed "layer_tars" (listOf storePath) // { default = [ ]; };
    nixDatabase = passed "nix_database" (either builtins.isBool bool (record { uid = int; gid = int; })) // { default = false; };

    fromImage = passed "base" baseImage;
    inheritConfig = passed "inherit_config" bool;

    config = optional config // { default = { }; };
    env = optional (attrsOf (nullOr string)) // { default = { }; };
    labels = optional (attrsOf string) // { default = { }; };
    annotations = passed "annotations" (attrsOf string) // { default = { }; };
    created = passed "created" string;
    platform = optional (either builtins.isString string (record { os = string; architecture = string; variant = string; }));
    architecture = optional string;

    maxLayers = passed "max_layers" int;
    packer = passed "packer" string;
    layeringPipeline = passed "layering_pipeline" pipeline;
    volatile = passed "volatile" (listOf storePath) // { default = [ ]; };
    catalog = passed "catalog" storePath;
    prior = passed "prior" storePath;
    layerFormat = passed "layer_format" (either builtins.isString (enum [ "nixply" "dockertools" ])
      (record { name = enum [ "dockertools" ]; mtimeSecs = int; uid = int; gid = int; uname = string; gname = string; }));
    includeStorePaths = optional bool // { default = true; };

    extraCommands = optional string // { default = ""; };
    fakeRootCommands = optional string // { default = ""; };
    enableFakechroot = optional bool // { default = false; };
    compression = passed "compression" string;

    meta = optional attrs // { default = { }; };
    passthru = optional attrs // { default = { }; };
  };

  # What says nothing is left out of the specification, so that it reads well and a new field changes no old image.
  # A root with nothing in it says something: it has /tmp.
  isSaid = field: value: field == "root" || !(builtins.elem value [ [ ] { } false ]);
  withoutEmpty = fields: builtins.removeAttrs fields
    (builtins.filter (field: !(isSaid field fields.${field})) (builtins.attrNames fields));

  platformOf = function: args:
    if args.platform == null then platform // (if args.architecture == null then { } else { inherit (args) architecture; })
    else if args.architecture != null then throw "${function}: give `platform` or `architecture`, not both"
    else if builtins.isString args.platform then platforms.ofText "${function}: argument `platform` is" args.platform
    else args.platform;

  # Whether the layers of a base are in a registry only, as far as evaluation tells: of a lock, of an image on one, of a name.
  # What a derivation makes is known when it is built; nixply refuses it then.
  isInRegistry = base:
    if builtins.isString base then builtins.substring 0 9 base == "docker://"
    else if builtins.isPath base then builtins.match ".*[.]json" (toString base) != null && isInRegistry (ofFile base)
    else if !builtins.isAttrs base then false
    else if base ? baseInRegistry then base.baseInRegistry
    else if base ? schema then builtins.substring 0 12 base.schema == "nixply.base/" || builtins.any isFetched base.layers or [ ]
    else base ? path && isInRegistry base.path;
  isFetched = layer: layer.kind or "" == "base" && layer.source ? registry;
  ofFile = file: builtins.fromJSON (builtins.readFile file);

  # `NAME=VALUE` with variables laid over: where they stand if they do, else at the end; null takes one out.
  withVariables = variables: given:
    let
      nameOf = text: builtins.head (builtins.split "=" text);
      said = name: if variables.${name} == null then [ ] else [ "${name}=${variables.${name}}" ];
      there = map nameOf given;
      new = builtins.filter (name: !(builtins.elem name there)) (builtins.attrNames variables);
    in
    builtins.concatLists (map (text: if variables ? ${nameOf text} then said (nameOf text) else [ text ]) given ++ map said new);

  configOf = args:
    args.config
    // (if args.env == { } then { } else { Env = withVariables args.env (args.config.Env or [ ]); })
    // (if args.labels == { } then { } else { Labels = args.config.Labels or { } // args.labels; });

  make = function: table: given:
    let
      checked = check.argumentsBeside otherTools.arguments function table given;
      # What scripts do to the contents is a tar, and then the contents are in there.
      hasScripts = checked.extraCommands != "" || checked.fakeRootCommands != "";
      ofScripts = scripts function {
        baseName = baseNameOf checked.name;
        inherit (checked) contents extraCommands fakeRootCommands enableFakechroot;
      };
      args = checked // (if !hasScripts then { } else {
        contents = [ ];
        onCollision = null;
        layerTars = checked.layerTars ++ [ "${ofScripts}/layer.tar" ];
      });
      image = {
        schema = "nixply.image/1";
        platform = platformOf function args;
      } // withoutEmpty (check.fields table args // { config = configOf args; })
      # That the base's config is not inherited has to be said, and that no step shall cut what is one layer.
      // (if args.layeringPipeline == null then { } else { layering_pipeline = args.layeringPipeline; })
      // (if args.inheritConfig == null then { } else { inherit_config = args.inheritConfig; });

      baseName = baseNameOf args.name;
      plan = derivations.mkPlan {
        name = "${baseName}-plan.json";
        inherit (args) includeStorePaths;
        spec = derivations.mkSpec { name = "${baseName}-spec.json"; inherit image; };
      };

      imageName = args.name;
      imageTag =
        if args.tag != null then args.tag
        else builtins.substring 0 32 (baseNameOf (builtins.unsafeDiscardStringContext plan.outPath));
      reference = "${imageName}:${imageTag}";
      # A name's first part is a host if it looks like one, as everywhere among container tools.
      hasHost = builtins.match "(localhost|[^/]*[.:][^/]*)/.*" imageName != null;

      # What holds the layers needs them, and a builder has no network: they have to be in the store.
      withLayers = attribute: value:
        if isInRegistry (given.fromImage or null) then throw
          "${function}: `${attribute}` of the image `${imageName}` would hold the layers of its base, which are in a registry; take the base from `nixply.lib.pullImage`, or use `push` and `load`, which need no download while building"
        else value;

      program = name: command: derivations.mkProgram {
        name = "${name}-${baseName}";
        inherit command;
        description = "${name} the image ${imageName}";
      };
      # The bytes go through a pipe: to compress them would only cost time, and Docker's image ID is the same.
      load = options: program "load" ([ "load" "${plan}" "--compression" "none" "--tag" imageTag ] ++ options);
      attributes = {
        inherit plan imageName imageTag;
        archive = withLayers "archive" (derivations.mkArchive { name = "${baseName}.tar"; inherit plan; tag = imageTag; });
        ociLayout = withLayers "ociLayout" (derivations.mkOciLayout { name = "${baseName}-oci-layout"; inherit plan; tag = imageTag; });
        baseInRegistry = isInRegistry (given.fromImage or null);
        manifest = derivations.mkManifest { name = "${baseName}-manifest.json"; inherit plan; };
        push = program "push" [ "push" "${plan}" "--own-name" reference ];
        load = load [ ];
        copyToRegistry =
          if hasHost then program "push" [ "push" "${plan}" reference ]
          else throw "${function}: `copyToRegistry` pushes to the image's own name, and `${imageName}` names no registry: use `push`";
        copyToDockerDaemon = load [ "--into" "docker" ];
        copyToPodman = load [ "--into" "podman" ];
      } // args.passthru;
    in
    plan // attributes // {
      meta = { description = "The container image ${imageName}"; } // args.meta;
      passthru = attributes;
    };
in
{
  inherit table platform;

  __functor = _: make "nixply.lib.buildImage" table;

  # For a function that has checked `config` in its own way, and whose name messages shall have.
  named = function: make function (table // { config = optional attrs // { default = { }; }; });
}
