"""Making children, and making sure that they end."""
