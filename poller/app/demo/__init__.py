"""The demonstration: an emulator, the daemon, a receiver, and a judge who holds one against the other."""
