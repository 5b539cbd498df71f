"""Search, without I/O: parameters and their index entries, queries and the plans they become, and how plans match."""
