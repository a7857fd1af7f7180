"""What the engine needs of the world, said from its side; adapters fit these, `app/build.py` brings them together."""
