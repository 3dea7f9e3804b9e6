"""Recipes: one YAML file is one model; `packtrain ls` lists them."""
