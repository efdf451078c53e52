"""Other people's recommenders, behind the same search space as ours; only measurements import them."""
