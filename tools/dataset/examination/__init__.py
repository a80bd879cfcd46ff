"""What tools/dataset/doctor.py is made of: sources -> samples -> findings, speed -> terminal, page."""
