"""What goes wrong with a checkpoint."""


class CheckpointError(ValueError):
    """A checkpoint that is not whole, or not what is asked for."""
