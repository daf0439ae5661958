"""Experiments that can be named, stored, repeated and drawn: run specs, the store, the figures."""
