"""Alembic migrations, and the functions with which the rest of the product runs them."""
