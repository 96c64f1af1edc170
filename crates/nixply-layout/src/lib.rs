//! nixply-layout
