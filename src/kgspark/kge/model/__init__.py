"""The tgraphx models as two-tower scorers, their scores and first vectors."""
