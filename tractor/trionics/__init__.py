"""Helpers for trio programs; nothing in here knows of actors."""
