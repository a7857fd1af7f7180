"""The configuration: what a TOML file may say, read and checked, or refused with a message for each mistake.

`load.load_settings` reads a file, `load.settings_from` a mapping; `model.Settings` is what they give.
"""
