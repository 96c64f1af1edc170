# `pullImage`: an image of a registry as a docker archive, a derivation whose hash is fixed. Takes what nixpkgs'
# `dockerTools.pullImage` takes and writes the very bytes that it writes (with skopeo), so that hashes stay valid and the
# store path is the same.
#
#   nix-prefetch-docker tells digest and hash, and so does the error of a wrong one: give `sha256 = "";` first
#
# Credentials and proxies come from the environment of whoever builds: of the daemon, where there is one.
{ check, derivations, platform, pkgs }:
let
  inherit (check) string bool nullOr;

  function = "nixply.lib.pullImage";

  table = {
    imageName = { type = string; };
    imageDigest = { type = string; };
    sha256 = { type = nullOr string; default = null; };
    hash = { type = nullOr string; default = null; };
    os = { type = string; default = "linux"; };
    arch = { type = string; default = platform.architecture; };
    finalImageName = { type = nullOr string; default = null; };
    finalImageTag = { type = string; default = "latest"; };
    tlsVerify = { type = bool; default = true; };
    name = { type = nullOr string; default = null; };
  };

  fixName = builtins.replaceStrings [ "/" ":" ] [ "-" "-" ];

  proxies = [ "http_proxy" "https_proxy" "ftp_proxy" "all_proxy" "no_proxy" "HTTP_PROXY" "HTTPS_PROXY" "ALL_PROXY" "NO_PROXY" ];
  credentials = [ "REGISTRY_AUTH_FILE" "DOCKER_CONFIG" "REGISTRY_USERNAME" "REGISTRY_PASSWORD" "GITHUB_TOKEN" ];
in
{
  inherit table;

  __functor = _: given:
    let
      args = check.arguments function table given;
      imageName = if args.finalImageName == null then args.imageName else args.finalImageName;
      imageTag = args.finalImageTag;
      hash =
        if args.hash != null && args.sha256 != null then throw "${function}: give `hash` or `sha256`, not both"
        else if args.hash != null then args.hash
        else if args.sha256 != null then args.sha256
        else throw "${function}: argument `sha256` is missing";
      noHash = "0000000000000000000000000000000000000000000000000000000000000000";
    in
    derivations.build {
      name = if args.name == null then fixName "docker-image-${imageName}-${imageTag}.tar" else args.name;
      output = "pull";
      request = {
        image_name = args.imageName;
        image_digest = args.imageDigest;
        inherit (args) os arch;
        final_image_name = imageName;
        final_image_tag = imageTag;
        tls_verify = args.tlsVerify;
      } // (if pkgs == null then { } else { ca_certificates = "${pkgs.cacert.out}/etc/ssl/certs/ca-bundle.crt"; });
      attributes = {
        outputHashMode = "flat";
        outputHashAlgo = "sha256";
        outputHash = if hash == "" then noHash else hash;
        impureEnvVars = proxies ++ credentials;
      } // derivations.selfContained;
    } // { inherit imageName imageTag; inherit (args) imageDigest; };
}
