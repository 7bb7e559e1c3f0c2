"""What is handed to a reader."""
