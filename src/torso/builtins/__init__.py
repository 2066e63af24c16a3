"""torso's own plugins, registered through the same ``hookimpl`` as everyone's."""
