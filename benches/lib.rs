//! Speed benchmarks; each is a file beside this one.
