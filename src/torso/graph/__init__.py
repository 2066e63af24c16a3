"""The network as plain data: nodes, edges, costs, levels, and which cuts are clean.

A graph holds no Keras object, so truncation strategies and freeze policies are written and tested without TensorFlow.
"""

from torso.graph.clean_cuts import Branch
from torso.graph.cost import Cost
from torso.graph.freeze_plan import FreezePlan, FreezeReport
from torso.graph.graph import Graph
from torso.graph.levels import EXPANSION, LEVELS
from torso.graph.node import Feature, Node, Shape, describe

__all__ = [
    "EXPANSION", "LEVELS", "Branch", "Cost", "Feature", "FreezePlan", "FreezeReport", "Graph", "Node", "Shape", "describe",
]  # fmt: skip
