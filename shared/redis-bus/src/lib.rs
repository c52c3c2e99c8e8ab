//! The bus and the node directory on Redis or Valkey.
