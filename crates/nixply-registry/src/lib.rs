//! nixply-registry
