"""The world outside: sockets, disk, clock and shells, and the nodes that join them to `core`."""
