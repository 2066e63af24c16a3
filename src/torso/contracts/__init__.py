"""What a plugin author reads: the hooks, and the frozen values that plugins yield."""
