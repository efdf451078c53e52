"""Text for people: tables of metrics, a summary of the night, a progress bar."""
