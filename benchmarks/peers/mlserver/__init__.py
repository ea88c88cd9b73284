"""MLServer's model folder, with its own environment: it conflicts with the FastAPI releases of the other servers."""
