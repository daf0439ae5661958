"""What a training run tells us: pure functions of predictions, given labels and true labels."""
