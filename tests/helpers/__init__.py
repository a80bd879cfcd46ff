"""What several tests need. Nothing here is tested, nor ships with the package."""
