"""What a payload may be: codecs, payload types, boxed errors and pointers to functions."""
