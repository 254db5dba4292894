"""Finding actors by name: the registrar, and queries to it."""
