"""What a triplet loss does to triplets, as numbers: predicted moves, measured moves, gradients."""
