"""The way forward from every released version of the record; `store/migrating.py` says how a script is written."""
