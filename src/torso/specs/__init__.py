"""What the user declares: YAML text to positioned values, and values to a checked spec.

Nothing here knows which architectures, strategies or policies exist; names are resolved by the plan.
"""
