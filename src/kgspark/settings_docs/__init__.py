"""The settings classes as documentation: prose comes from their descriptions, and everything else is generated."""
