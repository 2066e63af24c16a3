"""Pretrained vision backbones from a name or a line of YAML."""

__version__ = "0.1.0"
