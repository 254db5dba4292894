"""Moving frames between actors: addresses, transports, channels and the server."""
