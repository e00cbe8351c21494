"""Side effects of training: metrics, pictures, tables."""
