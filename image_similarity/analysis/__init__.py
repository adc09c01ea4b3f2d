"""What is made of a whole database: neighbours of everything, codebooks, reductions, maps."""
