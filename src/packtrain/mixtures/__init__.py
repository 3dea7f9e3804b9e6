"""Data mixtures, one YAML file each."""
