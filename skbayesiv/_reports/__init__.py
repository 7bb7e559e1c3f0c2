"""What is handed to a reader: tables, diagnoses, reports."""
