"""The pytest plugin of this package: fixtures for programs that are tested against HealthOmics."""

from poller.testing.emulator import healthomics_emulator

__all__ = ["healthomics_emulator"]
