//! nixply-pack
