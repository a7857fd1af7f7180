"""The rules of the product, pure: no I/O, no clock, no chance, no logging. Times and jitter are arguments."""
