"""`python -m gateway`."""
