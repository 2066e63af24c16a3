"""The configuration of functional models, as Keras writes it in JSON: read and changed without importing Keras."""
