"""Text for a person to read: tables of figures, a summary of the night, a progress bar."""
