"""Load for servers of chat completions on this machine: clients, upstreams, and what to compare."""
