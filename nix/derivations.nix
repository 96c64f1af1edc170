# Derivations whose builder is nixply itself: no shell, no standard environment, no network.
#
# `nixply build` reads the attribute `nixply` (schema `nixply.build/1`): what to make, and from what. See
# `crates/nixply-cli/src/commands/build/`.
{ tool, system }:
let
  # An output that nixply makes. `request` goes to it as JSON, so store paths in it are inputs of the derivation.
  build = { name, output, request, attributes ? { } }: derivation ({
    inherit name system;
    builder = "${tool}/bin/nixply";
    args = [ "build" ];
    __structuredAttrs = true;
    nixply = { schema = "nixply.build/1"; inherit output; } // request;
  } // attributes);

  # Made in a moment out of little, so nothing is gained by asking other machines.
  quick = { preferLocalBuild = true; allowSubstitutes = false; };

  # What holds an image's bytes needs none of its store paths. Nix before 2.18 has no such attribute; 2.8 and older ignore it.
  selfContained =
    if builtins.compareVersions builtins.nixVersion "2.18" < 0 then { }
    else { unsafeDiscardReferences.out = true; };

  # An output that is made from a plan. A plan without a tag does not know its own hash, which is the tag then.
  fromPlan = { output, name, plan, tag ? null, attributes ? { }, request ? { } }: build {
    inherit name output attributes;
    request = { plan = "${plan}"; } // request // (if tag == null then { } else { inherit tag; });
  };
in
{
  inherit build selfContained;

  # The image specification (`nixply.image/1`) as a file, in which Nix looks for references.
  mkSpec = { name, image }: build {
    inherit name;
    output = "spec";
    request = { inherit image; };
    attributes = quick;
  };

  # The plan of an image (`nixply.plan/1`).
  mkPlan = { name, spec, includeStorePaths ? true }: build {
    inherit name;
    output = "plan";
    request = { spec = "${spec}"; } // (if includeStorePaths then { } else { include_store_paths = false; });
    attributes = quick // { exportReferencesGraph.closure = [ "${spec}" ]; };
  };

  # One tar. `format`: `archive`, an OCI layout and a docker-archive at once, or `docker-archive`, what `docker save` made
  # before Docker 25. `compressor` is for the tar as a whole: `none`, `gzip[:N]` or `zstd[:N]`.
  mkArchive = { name, plan, tag ? null, format ? "archive", compressor ? "none" }: fromPlan {
    inherit name plan tag;
    output = "archive";
    request = { inherit format compressor; };
    attributes = selfContained;
  };

  # Several docker-archives as one.
  mkMerged = { name, archives, compressor }: build {
    inherit name;
    output = "merged";
    request = { archives = map (archive: "${archive}") archives; inherit compressor; };
    attributes = selfContained;
  };

  # An OCI layout directory.
  mkOciLayout = { name, plan, tag ? null }: fromPlan {
    inherit name plan tag;
    output = "oci-layout";
    attributes = selfContained;
  };

  # The image's manifest; its SHA-256 is the image's digest.
  mkManifest = { name, plan }: fromPlan {
    inherit name plan;
    output = "manifest";
  };

  # The catalog of package sets (`nixply.catalog/1`): names with lists of store paths. All packages of a fleet have to be there
  # to make it, so it is worth fetching, and without them.
  mkCatalog = { name, sets, level ? null }: build {
    inherit name;
    output = "catalog";
    request = { inherit sets; } // (if level == null then { } else { inherit level; });
    attributes = selfContained // {
      preferLocalBuild = true;
      exportReferencesGraph.closure = builtins.concatLists (builtins.attrValues sets);
    };
  };

  # A program `bin/NAME`: a command of nixply with its first words, to which the caller's are added.
  mkProgram = { name, command, description ? "nixply ${builtins.head command}" }: build {
    inherit name;
    output = "program";
    request = {
      inherit name;
      interpreter = "${tool}/bin/nixply";
      program = {
        schema = "nixply.program/1";
        inherit command;
      };
    };
    attributes = quick;
  } // { meta = { mainProgram = name; inherit description; }; };

  # A program that is the output itself: a command of nixply with its first words, to which the caller's are added.
  mkExecutable = { name, command }: build {
    inherit name;
    output = "program";
    request = {
      interpreter = "${tool}/bin/nixply";
      program = {
        schema = "nixply.program/1";
        inherit command;
      };
    };
    attributes = quick;
  };
}
