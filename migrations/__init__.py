"""Alembic migrations, and the few functions by which the rest of the product runs them."""
