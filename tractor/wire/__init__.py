"""What may be said on a channel, and when: frames, headers and dialog tables.  No I/O."""
