# What projects choose from. A set is a list of packages that are used together, so that projects agree on what they have.
pkgs: {
  # In every image.
  base = with pkgs; [
    bashInteractive
    coreutils
    findutils
    gnugrep
    gnused
    gawk
    gnutar # VS Code unpacks its server with these two
    gzip
    cacert
    tzdata
  ];

  # For people. sudo is no package of an image: mkDevContainer puts it there, with its setuid bit.
  devTools = with pkgs; [
    gitMinimal
    openssh
    curl
    jq
    ripgrep
    fd
    fzf
    bat
    diffutils
    just
    starship
    gcc
    gnumake
    less # git shows its log with it
    nano # ~/.bashrc makes it the editor where it is there
    procps
    which
  ];

  # For containers in which `nix develop` is to work.
  nixTools = with pkgs; [ nix direnv nix-direnv ];

  python = with pkgs; [ python312 ];
  pythonDev = with pkgs; [ uv ruff pyright ];

  node = with pkgs; [ nodejs_22 ];
  nodeDev = with pkgs; [ bun typescript typescript-language-server ];

  go = with pkgs; [ go ];
  goDev = with pkgs; [ gopls golangci-lint ];

  rust = with pkgs; [ rustc cargo ];
  rustDev = with pkgs; [ rust-analyzer clippy rustfmt ];

  bashDev = with pkgs; [ shellcheck shfmt ];
}
