"""Real runs of a tiny model that are killed, starved and lied to; see tools/torture.py."""
