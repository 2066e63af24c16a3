"""The network as plain data: nodes, edges, costs, levels, and which cuts are clean.

A graph is a value without Keras objects, so that a truncation strategy or a freeze policy is written and tested without
TensorFlow. Reading one off a Keras model is the work of the Keras bridge.
"""

from torso.graph.block_boundaries import boundary, boundary_before
from torso.graph.clean_cuts import Branch, branches_lost, clean_around, require_clean
from torso.graph.cost import Cost, clean_costs, cost_of
from torso.graph.graph import Feature, Graph
from torso.graph.levels import EXPANSION, LEVELS
from torso.graph.node import Node, Shape, describe

__all__ = [
    "EXPANSION",
    "LEVELS",
    "Branch",
    "Cost",
    "Feature",
    "Graph",
    "Node",
    "Shape",
    "boundary",
    "boundary_before",
    "branches_lost",
    "clean_around",
    "clean_costs",
    "cost_of",
    "describe",
    "require_clean",
]
