"""What training minimises: the softmax and the sampled objectives, negatives, losses, the optimizer."""
