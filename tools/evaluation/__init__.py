"""What tools/evaluate_all.py is made of: the plan, the published figures, the tables."""
