"""The plan: made from a spec without TensorFlow and without network, and all that a build is given."""

from torso.planning.channel_mix import mix_for, network_mix, preprocessing_for
from torso.planning.plan import Chosen, Plan, PlannedWeights, summary
from torso.planning.resolve import make_plan, make_plans

__all__ = [
    "Chosen",
    "Plan",
    "PlannedWeights",
    "make_plan",
    "make_plans",
    "mix_for",
    "network_mix",
    "preprocessing_for",
    "summary",
]
