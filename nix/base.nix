# `base`: a base image in a registry, from a lock file of `nixply base lock`, for `buildImage`'s `fromImage`. Nothing of it
# is downloaded: what planning needs stands in the lock, and the layers are mounted, or copied, when the image is pushed.
{ check }:
let
  function = "nixply.lib.base";
  schema = "nixply.base/1";
  table.lock = { type = check.storePath; };
in
{
  inherit table;

  __functor = _: given:
    let
      checked = check.arguments function table given;
      # Read where it lies: the file itself is no part of the image.
      lock = builtins.seq checked (builtins.fromJSON (builtins.readFile given.lock));
      found = lock.schema or "";
    in
    if found == schema then lock
    else throw "${function}: `${toString given.lock}` has the schema `${found}`, expected `${schema}`";
}
