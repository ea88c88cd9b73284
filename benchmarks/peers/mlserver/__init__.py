"""MLServer's model folder, and its environment: it takes no release of FastAPI that the other servers want."""
