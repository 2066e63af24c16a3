"""For training on a backbone: its place in a classifier, its parts, learning rates per level, regularizers."""
