"""Knows everything, decides nothing: brings the parts together and runs them."""
