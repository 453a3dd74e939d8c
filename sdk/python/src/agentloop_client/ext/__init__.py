"""Adapters to the libraries that agents are made with. Each imports its library alone, and only when it is imported."""
