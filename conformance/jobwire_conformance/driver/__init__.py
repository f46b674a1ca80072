"""The driver protocol: messages between the runner and a peer, and the process that carries them."""
