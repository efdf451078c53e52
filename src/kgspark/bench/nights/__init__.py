"""A whole night, or its first or last stages, compared with the same work by others."""
