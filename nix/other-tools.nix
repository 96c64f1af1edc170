# Words of nix2container and of nixpkgs' dockerTools that nixply has not, and what says the same here. The whole story is in
# docs/migrating-from-nix2container.md and docs/migrating-from-dockertools.md.
let
  noDisk = "nothing is built in a virtual machine here: leave it out";
  owner = "owners of store paths are `nixDatabase = { uid = …; gid = …; }` or rules of `perms`";
  noDatabaseOwner = "use `nixDatabase = { uid = …; gid = …; }`";
in
{
  # Arguments of `buildImage`: sentences that go on a message.
  arguments = {
    # Of both.
    copyToRoot = "use `contents`, which links trees into the root";

    # nix2container's.
    arch = "use `architecture` or `platform`";
    deps = "a store path that is in no text of the image can be in `contents`";
    initializeNixDatabase = "use `nixDatabase`";
    layers = "the packer keeps together what belongs together; images agree on layers by a fleet's `catalog`, and `layeringPipeline` decides by hand";
    metadata = "each layer's history names its store paths; the image has `annotations`";
    nixGid = noDatabaseOwner;
    nixUid = noDatabaseOwner;
    reproducible = "every layer is";

    # dockerTools'.
    buildVMMemorySize = noDisk;
    compressor = "use `compression`";
    diskSize = noDisk;
    fromImageName = "give the image itself as `fromImage`";
    fromImageTag = "give the image itself as `fromImage`";
    gid = owner;
    gname = owner;
    includeNixDB = "use `nixDatabase`";
    keepContentsDirlinks = "directories of `contents` are merged and links stay links: leave it out";
    mtime = "files of the store have one time; the image's own is `created`";
    runAsRoot = "use `root`, or `fakeRootCommands`";
    uid = owner;
    uname = owner;
  };

  # Functions of `lib`, which are there to say it.
  functions = builtins.mapAttrs
    (name: instead: _: throw "nixply.lib.${name}: nixply has no such function, which is nix2container's: ${instead}")
    {
      buildLayer = "which paths share a layer is decided over the whole image: use `packer`, `layeringPipeline` and, in a fleet, `catalog`";
      pullImageFromManifest = "use `nixply.lib.base { lock = …; }`, with a lock of `nixply base lock docker://…`, or `nixply.lib.pullImage`";
    };
}
