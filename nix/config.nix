# The argument `config`: what a container runs, in the words of OCI's image specification (v1.1.1, config.md, "config") and of
# Docker, which has more of them.
#
# Runtimes read a key only as it is written below, and pass over every other one without a word: an image with `cmd` has no
# command. crates/nixply-image/src/config_keys.rs knows the same keys, for image specifications that people write.
check:
let
  inherit (builtins) attrNames deepSeq filter foldl' intersectAttrs isAttrs isBool isInt isPath isString mapAttrs trace;
  inherit (check) listOf attrsOf nullOr nearest;

  # Only looked at: the config goes into JSON as it is given. What has been looked at is `true`, since a package among the
  # strings is more than its path.
  simple = name: accepts: {
    inherit name;
    convert = place: value: accepts value || check.wrong place name value;
  };
  # What goes into JSON as a string.
  string = simple "a string" (value: isString value || isPath value || (isAttrs value && (value ? outPath || value ? __toString)));
  bool = simple "a boolean" isBool;
  int = simple "an integer" isInt;
  attrs = simple "an attribute set" (value: isAttrs value && !(value ? outPath));

  keys = {
    # OCI's.
    ArgsEscaped = bool;
    Cmd = listOf string;
    CpuShares = int;
    Entrypoint = listOf string;
    Env = listOf string;
    ExposedPorts = attrsOf attrs;
    Healthcheck = attrs;
    Labels = attrsOf string;
    Memory = int;
    MemorySwap = int;
    StopSignal = string;
    User = string;
    Volumes = attrsOf attrs;
    WorkingDir = string;

    # Docker's (`container.Config`).
    AttachStderr = bool;
    AttachStdin = bool;
    AttachStdout = bool;
    Domainname = string;
    Hostname = string;
    Image = string;
    MacAddress = string;
    NetworkDisabled = bool;
    OnBuild = listOf string;
    OpenStdin = bool;
    Shell = listOf string;
    StdinOnce = bool;
    StopTimeout = int;
    Tty = bool;
  };

  # `mistaken` says what becomes of a key that is most likely a known one.
  type = mistaken: {
    name = "an attribute set";
    convert = place: value:
      let
        checked = mapAttrs (key: type: (nullOr type).convert "${place}.${key}" value.${key})
          (intersectAttrs value keys);
        unknown = filter (key: !(keys ? ${key})) (attrNames value);
        next = config: key:
          let known = nearest (attrNames keys) key;
          in
          if known != null then mistaken place key known config
          else trace "warning: ${place}` has the key `${key}`, which neither OCI nor Docker knows; it is passed on as it is" config;
      in
      if !isAttrs value || value ? outPath then check.wrong place "an attribute set" value
      else foldl' next (deepSeq checked value) unknown;
  };
in
{
  inherit keys;

  config = type (place: key: known: _: throw "${place}` has no key `${key}`; did you mean `${known}`?");

  # nixpkgs' own functions pass everything on, and so does what stands in for them.
  lenientConfig = type (place: key: known: config:
    trace "warning: ${place}` has the key `${key}`, which no container runtime reads; did you mean `${known}`?" config);
}
