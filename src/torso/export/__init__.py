"""Backbones written for other runtimes, run there and compared with Keras."""
