"""Tools for testing actors: a pytest plugin that runs async tests, bounds every test, and finds what one leaves behind."""
