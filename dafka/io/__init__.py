"""The world outside: sockets, disk, clock and greenlets, and the nodes that join them to `core`."""
