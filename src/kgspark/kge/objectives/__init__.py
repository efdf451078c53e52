"""The objectives that training minimises, softmax and sampled: their batches, negatives, losses and optimizer."""
