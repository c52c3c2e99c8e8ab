//! GET /connect as a function: the connection balancer.
