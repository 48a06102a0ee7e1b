"""From texts to vectors: the models that make them, and how they are asked."""
