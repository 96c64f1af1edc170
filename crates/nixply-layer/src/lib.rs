//! nixply-layer
