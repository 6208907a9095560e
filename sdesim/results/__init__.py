"""What a run returns, and the files that hold it."""
