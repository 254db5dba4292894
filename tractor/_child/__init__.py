"""The other end of a spawn: how a fresh interpreter becomes an actor."""
