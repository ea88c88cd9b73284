"""How people are written to in their language: texts, numbers, times."""
