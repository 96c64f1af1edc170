//! nixply-image
