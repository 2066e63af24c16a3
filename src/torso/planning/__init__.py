"""The plan: a spec with every name resolved and every choice checked, made without TensorFlow or an internet connection."""

from torso.planning.channel_mix import network_mix, preprocessing_for
from torso.planning.plan import Chosen, Plan, PlannedWeights, summary
from torso.planning.resolve import make_plan, make_plans

__all__ = ["Chosen", "Plan", "PlannedWeights", "make_plan", "make_plans", "network_mix", "preprocessing_for", "summary"]
