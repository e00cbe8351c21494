"""Small trained weights that the repository carries, and the scripts that made them."""
