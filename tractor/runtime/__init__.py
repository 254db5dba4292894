"""The trio half of the protocol: actors, requests, contexts, streams and portals."""
