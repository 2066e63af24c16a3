"""Features of many pictures, in files: listed once, computed in shards, each published by one rename."""
