"""Saved backbones: manifest, save, load, verify, lock and diff."""
