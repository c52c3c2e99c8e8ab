//! The WebSocket node: accepts sockets, follows workspaces, pushes to members.
