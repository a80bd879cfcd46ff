"""The page of tools/app.py: tabs around the inferencers of momo.apis."""
