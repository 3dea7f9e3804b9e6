"""Checks of the installation: Python, packages, devices, walls, folders, environment variables."""
