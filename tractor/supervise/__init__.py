"""Nurseries whose children are actors: starting them, watching them, ending them."""
