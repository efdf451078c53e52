"""Business rules of recommendations, applied to exact lists of the model's scores; needs neither Spark nor torch."""
