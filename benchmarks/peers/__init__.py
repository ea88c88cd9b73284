"""The servers that PneumoScreen is measured beside. They run in environments of their own; the README here says how."""
