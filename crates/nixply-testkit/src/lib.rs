//! nixply-testkit
