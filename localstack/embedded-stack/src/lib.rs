//! The whole system in one process: gateway, functions, engine, bus and nodes.
