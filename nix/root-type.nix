# What stands outside the store, declaratively: the argument `root` of `buildImage`, and the rules of `perms`.
check:
let
  inherit (check) string int bool storePath matching attrsOf listOf record;

  mode = matching "octal digits such as \"0755\"" "[0-7]{1,4}";
  owner = {
    uid = int;
    gid = int;
    user = string;
    group = string;
  };
in
{
  root = record {
    users = attrsOf (record {
      uid = int;
      gid = int;
      group = string;
      groups = listOf string;
      home = string;
      createHome = bool;
      shell = storePath;
      description = string;
      password = string;
    });
    groups = attrsOf (record {
      gid = int;
      members = listOf string;
    });
    files = attrsOf (record ({
      text = string;
      source = storePath;
      capabilities = string;
      inherit mode;
    } // owner));
    directories = attrsOf (record ({ inherit mode; } // owner));
    links = attrsOf storePath;
    tmp = bool;
    caCertificates = storePath;
    shell = storePath;
    env = storePath;
    nsswitch = bool;
    osRelease = attrsOf string;
  };

  perms = listOf (record {
    path = storePath;
    regex = string;
    inherit mode;
    uid = int;
    gid = int;
  });
}
