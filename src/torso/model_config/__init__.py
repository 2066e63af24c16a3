"""The JSON of functional models, read and changed without Keras."""
