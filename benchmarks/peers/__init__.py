"""The servers that PneumoScreen is compared with. They run in their own environments; the README here says how."""
