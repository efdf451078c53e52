"""What lists are made of besides vectors: candidates, business rules, and the facts that reasons name."""
