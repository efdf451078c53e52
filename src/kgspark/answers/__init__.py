"""Opens nights of a lake and answers from them: tables, lists, similar movies, explanations. No Spark, no torch."""
