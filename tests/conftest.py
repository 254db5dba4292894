"""The plugin every test of this suite runs under."""

pytest_plugins = ["tractor.testing._plugin", "pytester"]
