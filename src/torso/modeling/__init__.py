"""Everything that touches Keras objects: read, build, cut, fill, freeze, save.

Importing this package imports no Keras; its modules do so inside their functions or when they themselves are imported,
which happens only once a model is needed.
"""
