# What an image runs on, in the words of OCI: `{ os, architecture, variant? }`.
let
  ofProcessor = {
    aarch64 = { architecture = "arm64"; };
    armv6l = { architecture = "arm"; variant = "v6"; };
    armv7l = { architecture = "arm"; variant = "v7"; };
    i686 = { architecture = "386"; };
    loongarch64 = { architecture = "loong64"; };
    powerpc64le = { architecture = "ppc64le"; };
    riscv64 = { architecture = "riscv64"; };
    s390x = { architecture = "s390x"; };
    x86_64 = { architecture = "amd64"; };
  };
in
{
  # Of a Nix system: `x86_64-linux`. Images are for Linux, whatever builds them.
  ofSystem = system:
    let processor = builtins.head (builtins.match "([^-]+)-.*" system);
    in
    { os = "linux"; } // ofProcessor.${processor} or (throw
      "nixply: the system `${system}` has no platform that is known here: give `platform`, for example \"linux/arm64\"");

  # Of a text: `linux/arm/v7`. A message begins with `place`: "f: argument `platform` is".
  ofText = place: text:
    let parts = builtins.match "([^/]+)/([^/]+)(/([^/]+))?" text;
    in
    if parts == null then throw "${place} `${text}`, expected for example `linux/arm64`"
    else
      { os = builtins.elemAt parts 0; architecture = builtins.elemAt parts 1; }
      // (if builtins.elemAt parts 3 == null then { } else { variant = builtins.elemAt parts 3; });
}
