"""Write and run the formats that backbones are exported to; each module runs in a process of its own."""
